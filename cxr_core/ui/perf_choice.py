"""What somebody at the performance page looks at: a model, others beside it, a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from cxr_core.worklist.model_folders import Folder

if TYPE_CHECKING:
    from cxr_core.evaluation.record import Evaluation
    from cxr_core.evaluation.scored import Scored

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What all tabs are about.

    Attributes:
        model: looked at.
        others: laid over it, at most three.
        split: of films.
        scored: what the model said of them, and what is true.
        evaluation: its figures with intervals; None where nobody has computed them.
    """

    model: Folder
    others: tuple[Folder, ...]
    split: str
    scored: Scored
    evaluation: Evaluation | None

    @property
    def stamp(self) -> str:
        """Changes with the model's files, the split, and whether there are intervals."""
        return f"{self.model.sha256} {self.split} {self.evaluation is not None}"


def kept(chosen: Chosen, what: str, make: Callable[[], Made]) -> Made:
    """Return what was made of these films before; `what` names it and all it depends on beside them."""
    return _kept(chosen.stamp, what, make)  # type: ignore[no-any-return]


@st.cache_resource(max_entries=256, show_spinner=False)
def _kept(stamp: str, what: str, _make: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever is made
    return _make()
