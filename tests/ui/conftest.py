from pathlib import Path

import pytest
import streamlit as st


@pytest.fixture
def tiny_app(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app with the small model, and nothing cached from another test."""
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    st.cache_data.clear()
    st.cache_resource.clear()
