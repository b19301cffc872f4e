"""Sets of films of other populations than ChestX-ray14, and what their figures must not be taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_core.domain import ABNORMAL


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two kinds of films that a label may tell apart.

    Attributes:
        name: for people.
        label: whose probability is read.
        positive, negative: kinds.
        truth: whether that is what the label means, or a neighbour of it.
    """

    name: str
    label: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    truth: bool = False


@dataclass(frozen=True, slots=True)
class Population:
    """A set of films of another population.

    Attributes:
        id: its folder, and part of the table's name.
        name, who: of the set, and whose films they are.
        warning: what its figures must not be taken for.
        attribution, licence: of the films.
        kinds: the set's own words for a film → the kind that is named here.
        contrasts: what can be told apart in it.
    """

    id: str
    name: str
    who: str
    warning: str
    attribution: str
    licence: str
    kinds: Mapping[str, str]
    contrasts: tuple[Contrast, ...]


NORMAL, BACTERIAL, VIRAL = "normal", "bacterial pneumonia", "viral pneumonia"
COVID, COVID_CLEAR = "COVID-19", "COVID-19, no abnormality visible"

KERMANY = Population(
    id="kermany",
    name="Kermany 2018, pneumonia in children",
    who="children of 1 to 5 years, one hospital in Guangzhou, all AP",
    warning=(
        "Children of one hospital: no measure of the model among adults. The finding is the diagnosis for "
        "which the film was kept, and films of the sick and the well may differ in more than the disease."
    ),
    attribution="Kermany D et al., Cell 2018 (Mendeley Data rscbjbr9sj)",
    licence="CC BY 4.0",
    kinds={"NORMAL": NORMAL, "PNEUMONIA|bacteria": BACTERIAL, "PNEUMONIA|virus": VIRAL},
    contrasts=(
        Contrast("pneumonia or normal", ABNORMAL, (BACTERIAL, VIRAL), (NORMAL,), truth=True),
        Contrast("pneumonia or normal", "Pneumonia", (BACTERIAL, VIRAL), (NORMAL,), truth=True),
        Contrast("pneumonia or normal", "Consolidation", (BACTERIAL, VIRAL), (NORMAL,)),
        Contrast("bacterial or viral", ABNORMAL, (BACTERIAL,), (VIRAL,)),
        Contrast("bacterial or viral", "Pneumonia", (BACTERIAL,), (VIRAL,)),
        Contrast("bacterial or viral", "Consolidation", (BACTERIAL,), (VIRAL,)),
    ),
)
COVID_SET = Population(
    id="covid",
    name="COVID-19, from publications and one hospital",
    who="COVID-19 only, 15 films of children; most from publications, with arrows and text",
    warning=(
        "No film without COVID-19 belongs to it. COVID-19 here against normal films of another set, such as "
        "children's, is told by the picture's origin alone: a famous shortcut, so no such figure is given."
    ),
    attribution="COVID-CXNet image repository; COVID-19 Image Repository, Hannover Medical School",
    licence="CC BY 4.0; CC BY 3.0",
    kinds={
        "COVID-19": COVID,
        "COVID-19|pediatric": COVID,
        "COVID-19|no abnormality visible": COVID_CLEAR,
        "COVID-19|no abnormality visible|pediatric": COVID_CLEAR,
    },
    contrasts=(Contrast("abnormality visible or not", ABNORMAL, (COVID,), (COVID_CLEAR,), truth=True),),
)
POPULATIONS = {each.id: each for each in (KERMANY, COVID_SET)}
