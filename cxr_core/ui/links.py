"""How pages lead to one another."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st

STUDY, WORKLIST = "pages/study.py", "pages/worklist.py"


def to_study(study_id: str) -> NoReturn:
    """Go to the desk with this study on it."""
    st.switch_page(STUDY, query_params={"study": study_id})


def to_worklist(study_id: str) -> NoReturn:
    """Go to the list with this study picked."""
    st.switch_page(WORKLIST, query_params={"study": study_id} if study_id else None)
