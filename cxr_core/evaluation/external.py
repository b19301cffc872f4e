"""Films of other populations than the model learned from: what it says of them, and how far that goes.

A set lies in a folder of its own with `labels.csv` and `images/`. What the model answered is kept without
the films in `evaluation/external-<set>.csv`, one row a film.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.data.readers import read as read_films
from cxr_core.data.splits import every_second
from cxr_core.domain import Analysis
from cxr_core.errors import DataError, ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.asking import Told, answers
from cxr_core.evaluation.measure import rules_of
from cxr_core.evaluation.populations import POPULATIONS, Population
from cxr_core.evaluation.scored import Scored
from cxr_core.inference.manifest import read_manifest
from cxr_core.pipeline import Kit

FACTS = ("film", "patient", "kind", "source", "state", "urgency", "refusal")
"""Columns of a table, before the labels."""

GATE = "gate"
"""Column that says whether the gate learned from the film's patient; older tables lack it."""
LEARNED, HELD_OUT = "learned", "held out"


def table_of(folder: Path, population: str) -> Path:
    """Return where a model folder keeps its answers on a population."""
    return folder / tables.FOLDER / f"external-{population}.csv"


def populations_in(folder: Path) -> tuple[str, ...]:
    """Return the ids of the populations whose answers a model folder holds."""
    return tuple(each for each in POPULATIONS if table_of(folder, each).is_file())


def ask(
    root: Path,
    population: Population,
    kit: Kit,
    *,
    now: datetime,
    most: int = 0,
    on_progress: Told | None = None,
) -> pd.DataFrame:
    """Return the model's answers on a population's films: `FACTS`, `GATE` and the labels, NaN if refused.

    Films and patients are numbered: names of files may say more than facts. A film without a patient is
    a patient by itself.

    Args:
        root: the folder that holds the sets.
        population: which.
        kit: with the model.
        now: see `pipeline.analyse`.
        most: films, see `sampled`; 0: all.
        on_progress: told how far it is.

    Raises:
        DataError: the set is not there, or holds other words than its kinds.
    """
    films = sampled(films_of(root / population.id, population), most)
    paths = [root / population.id / "images" / file for file in films["file"]]
    labels = kit.classifier.manifest.labels
    rows = [_row(result, labels) for result in answers(paths, kit, now=now, on_progress=on_progress)]
    said = pd.DataFrame(rows, columns=["state", "urgency", "refusal", *labels])
    facts = pd.DataFrame(
        {
            "film": films["film"].to_numpy(),
            "patient": films["patient"].to_numpy(),
            "kind": films["kind"].to_numpy(),
            "source": films["source"].to_numpy(),
            GATE: np.where(films["file"].isin(gate_learned(root / population.id)), LEARNED, HELD_OUT),
        }
    )
    return pd.concat([facts, said], axis=1)


def gate_learned(folder: Path) -> set[str]:
    """Return the files of those patients of a collection that the gate's network learns from.

    As `gate_films.collection` has it.
    """
    table = read_films(folder).table
    return set(table.loc[table["patient"].isin(every_second(table["patient"])), "file"])


def write(folder: Path, population: str, table: pd.DataFrame) -> Path:
    """Write the answers into a model folder and return where."""
    path = table_of(folder, population)
    table.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
    return path


def read(folder: Path, population: str, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return the answers as `write` left them; `GATE` is "" in tables that do not say it.

    Raises:
        ModelError: there are none, or of other labels.
    """
    try:
        texts = dict.fromkeys((*FACTS, GATE), str)
        table = pd.read_csv(table_of(folder, population), dtype=texts, keep_default_na=False, na_values=[""])
        table = table.assign(**{GATE: table.get(GATE, "")})[[*FACTS, GATE, *labels]]
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"{folder.name}: no table of {population}, or of other labels") from exc
    return table.fillna(dict.fromkeys(texts, ""))


def scored(folder: Path, population: str) -> Scored:
    """Return the model on a population, as if it were a split; refused films are left out.

    One answer a film, the ensemble's. Truth is known of the labels that a contrast of the set means.

    Raises:
        ModelError: no sound manifest, or no table of that population.
    """
    manifest = read_manifest(folder)
    labels, known = manifest.labels, POPULATIONS[population]
    table = read(folder, population, labels)
    table = table[table["refusal"] == ""].reset_index(drop=True)
    truth = np.full((len(table), len(labels)), np.nan)
    for contrast in known.contrasts:
        if contrast.truth and contrast.label in labels:
            column = labels.index(contrast.label)
            truth[table["kind"].isin(contrast.positive), column] = 1.0
            truth[table["kind"].isin(contrast.negative), column] = 0.0
    probabilities = table[list(labels)].to_numpy(dtype=np.float64)
    first = next(iter(tables.splits_in(folder)), "val")
    rules = replace(rules_of(manifest, tables.read_labels(folder, first)), within={})
    facts = pd.DataFrame(
        {
            "file": table["film"],
            "patient": table["patient"],
            "age": np.nan,
            "sex": "",
            "view": "",
            "source": table["source"],
        }
    )
    return Scored(
        model=f"{manifest.id} {manifest.version}",
        data=known.name,
        split=population,
        manifest=manifest,
        table=pd.concat([facts, pd.DataFrame(truth, columns=list(labels))], axis=1),
        probabilities=probabilities,
        members=probabilities[:, None, :],
        rules=rules,
        truth=truth,
    )


def sampled(films: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many films: patient by patient in the order of a hash, so of all kinds; 0: all.

    Every call takes the same, and fewer are the beginning of more.
    """
    hashes = [sha256(patient.encode()).hexdigest() for patient in films["patient"]]
    order = np.argsort(np.array(hashes), kind="stable")
    return films.iloc[order[:most] if most else order].reset_index(drop=True)


def films_of(folder: Path, population: Population) -> pd.DataFrame:
    """Return a population's films as its folder lists them: file, film, patient, kind, source.

    Raises:
        DataError: the set is not there, or holds other words than its kinds.
    """
    try:
        listed = pd.read_csv(folder / "labels.csv", keep_default_na=False)
        said, owner, terms = (listed[name] for name in ("labels", "patient_id", "licence"))
    except (OSError, ValueError, KeyError) as exc:
        raise DataError(f"{population.id}: expected labels.csv with labels, patient_id, licence") from exc
    if strange := sorted(set(said) - set(population.kinds)):
        raise DataError(f"{population.id}: unknown kind of film {strange[0]!r} in labels.csv")
    alone = [f"film {number}" for number in range(len(listed))]
    patients = pd.factorize(owner.where(owner != "", pd.Series(alone)))[0] + 1
    return pd.DataFrame(
        {
            "file": listed["file"],
            "film": [f"{population.id}-{number:05d}" for number in range(1, len(listed) + 1)],
            "patient": [f"{population.id}-p{number:05d}" for number in patients],
            "kind": said.map(population.kinds),
            "source": terms.str.split(":").str[0].str.strip(),
        }
    )


def _row(result: Analysis, labels: tuple[str, ...]) -> list[str | float]:
    both = (*result.predictions, *((result.abnormal,) if result.abnormal else ()))
    said = {each.label: each.probability for each in both}
    refusal = result.refusal.code if result.refusal else ""
    triage = result.triage
    return [
        triage.state.value,
        triage.urgency.value,
        refusal,
        *(said.get(label, float("nan")) for label in labels),
    ]
