"""Sentences that hold names, ids or notes, looking like captions, which are Markdown: shown as they are."""

from __future__ import annotations

from html import escape

import streamlit as st


def caption(text: str) -> None:
    """Show the text as it is."""
    st.html(f'<p class="muted literal">{escape(text)}</p>')
