"""The optional study form: prefilled from the film's tags, one set of fields per film."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from cxr_core.domain import Sex, Study, View

_SEXES = {Sex.UNKNOWN: "not given", Sex.FEMALE: "female", Sex.MALE: "male", Sex.OTHER: "other"}
_VIEWS = {View.UNKNOWN: "not given", View.PA: "PA", View.AP: "AP", View.LATERAL: "lateral"}


OLDEST = 130.0


def ask(study: Study, key: str) -> Study | None:
    """Show the form; return the completed study when it is saved, else None.

    Args:
        study: what is known so far.
        key: of this film.
    """
    with st.form(f"study-{key}", border=False):
        left, right = st.columns(2)
        patient_id = left.text_input("Patient ID", study.patient_id, max_chars=64)
        name = right.text_input("Name", study.patient_name, max_chars=128)
        known = study.age_years if study.age_years is not None and 0 <= study.age_years <= OLDEST else None
        # Only a field that begins empty can be emptied again; anew when another age is known.
        st.session_state.setdefault(age := f"age-{key}-{known}", known)
        years = left.number_input("Age in years", 0.0, OLDEST, None, step=1.0, format="%g", key=age)
        sex = right.selectbox(
            "Sex", list(_SEXES), list(_SEXES).index(study.sex), format_func=_SEXES.__getitem__
        )
        view = left.selectbox(
            "View", list(_VIEWS), list(_VIEWS).index(study.view), format_func=_VIEWS.__getitem__
        )
        referrer = right.text_input("Referrer", study.referrer, max_chars=128)
        phone = left.text_input("Referrer's phone", study.referrer_phone, max_chars=40)
        question = st.text_area("Clinical question", study.question, max_chars=500, height=80)
        if not st.form_submit_button("Save", type="primary"):
            return None
    return replace(
        study,
        patient_id=patient_id.strip(),
        patient_name=name.strip(),
        age_years=years,
        sex=sex,
        view=view,
        referrer=referrer.strip(),
        referrer_phone=phone.strip(),
        question=question.strip(),
    )
