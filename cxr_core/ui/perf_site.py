"""A model fitted to this site, step by step: cases, what is wanted, before and after, saved."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import ABNORMAL
from cxr_core.errors import CxrError, Forbidden, SignedOut
from cxr_core.evaluation.site import SiteFit
from cxr_core.evaluation.site_card import plain
from cxr_core.evaluation.site_cases import Aim, Cases, Choice
from cxr_core.ui import literal, perf_site_cases, perf_site_result, services
from cxr_core.ui.perf_choice import Chosen
from cxr_core.worklist import site
from cxr_core.worklist.service import Service

AIM, SENSITIVITY, ONLY = "site-aim", "site-sensitivity", "site-only"
FILMS_A_DAY, CHOSEN_FILMS, SHARE = "site-films-a-day", "site-chosen", "site-share"
FIT, NAME, SAVE, GO = "site-fit-now", "site-name", "site-save", "site-go"
_FITTED, _SAID = "site-fitted", "site-said"
MODELS = "pages/models.py"

_AIMS = {
    Aim.SENSITIVITY: "A sensitivity that findings must reach",
    Aim.BUDGET: "The alert budget of the policy",
}


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the steps, each once the one before it is done."""
    literal.caption(
        f"Sets calibration and thresholds of {chosen.model.name} anew by labelled films of your own, and "
        "says on other patients of yours what that changes. The network stays as it is, no film is stored, "
        "and nothing answers otherwise before a lead activates the new model."
    )
    try:
        cases = perf_site_cases.cases(service, actor, chosen.model)
        if cases is None:
            return
        choice = _choice(cases)
        if st.button("Fit and judge", key=FIT, type="primary"):
            with st.spinner("Fitting, and drawing patients for the intervals"):
                fit = service.fit_site(actor, chosen.model.id, cases, choice)
            st.session_state[_FITTED] = cases, choice, fit
        done = st.session_state.get(_FITTED)
        if done is None or done[0] is not cases:
            return
        if done[1] != choice:
            st.caption("What is asked for has changed since: fit again to see what it does.")
        perf_site_result.show(done[2])
        _save(service, actor, chosen, done[2])
    except CxrError as exc:
        tell(exc)


def tell(exc: CxrError) -> None:
    """Say what cannot be done, in the error's own words."""
    if isinstance(exc, SignedOut | Forbidden):
        services.say(exc)
        return
    st.warning("Not done.")
    st.text(str(exc))


def _choice(cases: Cases) -> Choice:
    """Return what the person asks for."""
    st.subheader("2 · What is wanted")
    aim = st.radio(
        "Thresholds by", list(_AIMS), key=AIM, format_func=lambda each: _AIMS[each], horizontal=True
    )
    left, right = st.columns(2)
    with left:
        sensitivity = st.slider(
            "Sensitivity", 50, 99, 90, key=SENSITIVITY, format="%d %%", disabled=aim is Aim.BUDGET
        )
    with right:
        films = st.number_input("Films a day", 1, 100_000, 100, key=FILMS_A_DAY)
    having = [label for k, label in enumerate(cases.labels) if (cases.truth[:, k] == 1).any()]
    only = st.multiselect(
        "Findings that get a new threshold",
        having,
        key=ONLY,
        format_func=plain,
        placeholder="All that these cases have enough of",
        help="The others call the same films as before. High sensitivity for all findings flags most films.",
    )
    return Choice(
        aim=Aim(aim),
        sensitivity=sensitivity / 100,
        only=tuple(only),
        films_a_day=float(films),
        prevalence=_prevalence(cases, having, aim),
    )


def _prevalence(cases: Cases, having: list[str], aim: Aim) -> dict[str, float]:
    """Return how frequent findings are here where the cases were chosen."""
    chosen = st.checkbox(
        "These films were chosen; on my list findings are rarer or more frequent",
        key=CHOSEN_FILMS,
        disabled=aim is Aim.BUDGET,
        help="A budget is a share of films as they come, so it cannot be set by films that were chosen.",
    )
    if not chosen or aim is Aim.BUDGET:
        return {}
    st.caption("Percent of all films with it. What is left empty is as frequent as in these cases.")
    columns = st.columns(4)
    given: dict[str, float] = {}
    for place, label in enumerate(sorted(having, key=lambda each: each != ABNORMAL)):
        truth = cases.truth[:, cases.labels.index(label)]
        share = float((truth == 1).sum() / max(int((truth >= 0).sum()), 1))
        with columns[place % 4]:
            value = st.number_input(
                plain(label),
                0.01,
                99.99,
                None,
                key=f"{SHARE}-{label}",
                placeholder=f"{100 * share:.1f} in these cases",
            )
        if value is not None:
            given[label] = float(value) / 100
    return given


def _save(service: Service, actor: Actor, chosen: Chosen, fit: SiteFit) -> None:
    """Let the person name and save what was fitted."""
    st.subheader("4 · Save")
    saved = st.session_state.get(_SAID)
    if saved is not None and saved[0] is fit:
        st.success("Saved. It answers nothing before it is activated on the models page.")
        st.text(saved[1].name)
        if st.button("Go to the models page", key=GO):
            st.session_state["mod-chosen"] = saved[1].id
            st.switch_page(MODELS)
        return
    if not fit.changed:
        st.caption("Calibration and thresholds would be the same as before: there is nothing to save.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if NAME not in st.session_state:
            st.session_state[NAME] = site.free_name(service, chosen.model.id)
        name = st.text_input(
            "Name",
            key=NAME,
            max_chars=24,
            width=240,
            help="Small letters, digits and hyphens. It becomes part of the model's id.",
        )
        if st.button("Save as a new model", key=SAVE):
            with st.spinner("Writing the model and checking it"):
                folder = service.save_site_model(actor, chosen.model.id, fit, name.strip())
            st.session_state[_SAID] = fit, folder
            st.session_state.pop(NAME, None)
            st.rerun()
