"""Films of a hospital answered now: what is true of them, and what the naive model goes by."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from cxr_core.batch import analyse_many
from cxr_core.data.readers import read
from cxr_core.evaluation.answered import answered
from cxr_core.evaluation.tables import read_labels
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.pipeline import load_kit
from cxr_core.settings import ROOT, Settings

FOLDER = ROOT / "models" / Settings().model


@pytest.fixture(scope="module")
def kit():
    return load_kit(Settings())


def asked(folder, kit, sources, usual=None):
    """Return the bundled model's answers on four films; Pneumonia is known to it within one source."""
    folder.mkdir()
    raws = [phantom_png(make_phantom(seed=seed, size=256)) for seed in range(4)]
    for number, raw in enumerate(raws):
        (folder / f"{number}.png").write_bytes(raw)
    rows = [(f"{k}.png", f"p{k}", "test", source, k % 2) for k, source in enumerate(sources)]
    columns = ["file", "patient", "split", "source", "Pneumonia"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    results = analyse_many(raws, kit, now=datetime(2026, 1, 1, tzinfo=UTC))
    return answered(read(folder), "test", kit.classifier.manifest, results, usual).scored


@pytest.mark.parametrize(
    ("sources", "known"),
    [
        (("",) * 4, 4),
        (("ward", "clinic", "ward", ""), 4),
        (("enriched", "enriched", "ward", ""), 2),
    ],
)
def test_a_label_known_within_one_source_is_known_elsewhere_where_nobody_has_that_source(
    tmp_path, kit, sources, known
):
    scored = asked(tmp_path / "films", kit, sources)
    assert len(scored.column("Pneumonia")[1]) == known
    assert not set(scored.table["source"]) & {"ward", "clinic"}


def test_the_naive_model_goes_by_the_models_own_val_not_by_the_films_answered(tmp_path, kit):
    val = read_labels(FOLDER, "val")
    scored = asked(tmp_path / "films", kit, ("",) * 4, val)
    place = scored.labels.index("Pneumonia")
    within = val.loc[val["source"] == "enriched", "Pneumonia"]
    assert scored.rules.usual[place] == pytest.approx(within.mean())
    assert scored.rules.usual[scored.labels.index("Mass")] == pytest.approx(val["Mass"].mean())
    again = asked(tmp_path / "again", kit, ("",) * 4)
    assert again.rules.usual[place] == pytest.approx(0.5)
    assert np.isnan(again.column("Mass")[1]).all()
