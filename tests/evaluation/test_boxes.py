"""Pointing game and IoU on maps drawn by hand, boxes at their place on the film, rates of few boxes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr_core.errors import DataError, ModelError
from cxr_core.evaluation import pointing
from cxr_core.evaluation.boxes import Box, boxes, judged, overlap
from cxr_core.evaluation.localise import ALL, LEAST_BOXES, hit_rates, stated
from cxr_core.evaluation.pointing import Hit
from cxr_core.inference.manifest import MANIFEST, NETWORK, read_manifest, write_manifest

NIH = "Image Index,Finding Label,Bbox [x,y,w,h],Unnamed: 6,Unnamed: 7,Unnamed: 8\n"


def spot(row, column, side=10, extent=1):
    heatmap = np.zeros((side, side), dtype=np.float32)
    heatmap[row : row + extent, column : column + extent] = 1
    return heatmap


def test_the_peak_hits_the_box_at_its_place_and_no_other():
    upper_left, lower_right = Box(0.1, 0.1, 0.4, 0.4), Box(0.6, 0.6, 0.9, 0.9)
    found = judged(spot(2, 2), upper_left)
    assert (found.hit, found.empty) == (True, False)
    assert (found.x, found.y) == pytest.approx((0.25, 0.25), abs=0.01)
    assert not judged(spot(2, 2), lower_right).hit
    assert not judged(spot(2, 7), upper_left).hit  # x runs along the columns
    assert judged(spot(2, 7), Box(0.7, 0.2, 0.8, 0.3)).hit


def test_a_map_in_which_nothing_stands_out_is_a_miss():
    for heatmap in (np.zeros((10, 10), np.float32), np.full((10, 10), 2.0, np.float32)):
        found = judged(heatmap, Box(0.0, 0.0, 1.0, 1.0))
        assert (found.hit, found.iou, found.empty) == (False, 0.0, True)


def test_overlap_worked_by_hand():
    # 16 of 100 fields inside, the box 16 of them and shifted by two columns: 8 shared, 24 in the union.
    inside = np.zeros((10, 10), dtype=bool)
    inside[2:6, 2:6] = True
    assert overlap(inside, Box(0.4, 0.2, 0.8, 0.6)) == pytest.approx(8 / 24)
    assert overlap(inside, Box(0.2, 0.2, 0.6, 0.6)) == pytest.approx(1.0)
    assert overlap(inside, Box(0.8, 0.8, 0.9, 0.9)) == 0
    # A box of half a field on each side of an edge counts by its part: 1 shared of 16 + 1 - 1.
    assert overlap(inside, Box(0.25, 0.25, 0.35, 0.35)) == pytest.approx(1 / 16)
    assert overlap(np.zeros((4, 4), dtype=bool), Box(0.0, 0.0, 0.0, 0.0)) == 0


def test_the_iou_is_of_the_area_within_the_contour_that_the_card_draws():
    found = judged(spot(2, 2, extent=4), Box(0.2, 0.2, 0.6, 0.6))
    assert found.iou > 0.8
    assert judged(spot(2, 2, extent=4), Box(0.4, 0.2, 0.8, 0.6)).iou == pytest.approx(1 / 3, abs=0.05)


def test_boxes_are_shares_of_a_film_of_1024_pixels_and_infiltrate_is_infiltration(tmp_path):
    path = tmp_path / "BBox_List_2017.csv"
    path.write_text(f"{NIH}a.png,Infiltrate,256.0,512.0,128.0,256.0,,,\n")
    assert boxes(path) == [("a.png", "Infiltration", Box(0.25, 0.5, 0.375, 0.75))]
    assert boxes(path)[0][2].share == pytest.approx(1 / 32)
    with pytest.raises(DataError):
        boxes(tmp_path / "none.csv")
    path.write_text(f"{NIH}a.png,Infiltrate,left,512.0,128.0,256.0,,,\n")
    with pytest.raises(DataError):
        boxes(path)


def hits_of(network, finding, inside, count, *, split="test", start=0):
    """Rows of a finding: the first `inside` of `count` hit; patients of two films each."""
    return [
        Hit(f"{finding}{k}", f"p{(start + k) // 2}", split, finding, True, k < inside, 0.5 * (k < inside),
            0.1, False, 0.5 if k < inside else 0.05, 0.5, 0.3, 0.3, 0.7, 0.7, network)
        for k in range(count)
    ]  # fmt: skip


@pytest.fixture
def folder(tiny_model, tmp_path):
    """The manifest of the tiny model and room for tables; rates need neither network nor weights."""
    made = tmp_path / tiny_model.name
    (made / "evaluation").mkdir(parents=True)
    (made / MANIFEST).write_bytes((tiny_model / MANIFEST).read_bytes())
    return made


def test_rates_are_shares_with_clustered_intervals_and_below_ten_boxes_not_measured(folder):
    network = read_manifest(folder).files[NETWORK]
    pointing.write(folder, hits_of(network, "Effusion", 6, 12) + hits_of(network, "Mass", 3, 9, start=40))
    rates = hit_rates(folder, resamples=400)
    assert list(rates) == [ALL, "Effusion", "Mass"]
    effusion, mass = rates["Effusion"], rates["Mass"]
    assert (effusion.n, effusion.hits, effusion.patients, effusion.chance) == (12, 6, 6, pytest.approx(0.1))
    assert effusion.hit.value == pytest.approx(0.5)
    assert effusion.hit.low < 0.5 < effusion.hit.high
    assert effusion.iou.value == pytest.approx(0.25)
    # Hits and misses come in pairs of one patient: twice the spread that twelve films by themselves have.
    by_film = 2 * 1.96 * np.sqrt(0.25 / 12)
    assert effusion.hit.high - effusion.hit.low > 1.2 * by_film
    assert not mass.measured
    assert mass.n < LEAST_BOXES
    assert np.isnan(mass.hit.value)
    assert rates[ALL].n == 21
    said = stated(folder)
    assert (said["localisation_Effusion_inside"], said["localisation_Effusion_films"]) == (6, 12)
    assert said["localisation_Effusion_chance"] == pytest.approx(0.1)
    assert said["localisation_Mass_films"] == 9
    assert "localisation_Mass_low" not in said


def test_a_map_that_looks_the_same_on_every_film_hits_no_more_than_those_of_others(folder):
    network = read_manifest(folder).files[NETWORK]
    rows = hits_of(network, "Effusion", 12, 12)
    pointing.write(folder, rows)
    assert hit_rates(folder, resamples=20)["Effusion"].swapped == 1
    boxes_apart = [
        replace(row, left=k / 12, right=(k + 1) / 12, x=(k + 0.5) / 12, patient=f"p{k}")
        for k, row in enumerate(rows)
    ]
    pointing.write(folder, boxes_apart)
    rate = hit_rates(folder, resamples=20)["Effusion"]
    assert (rate.hit.value, rate.swapped) == (1, 0)


def test_films_that_the_model_has_learned_from_count_only_where_others_are_too_few_and_are_named(folder):
    network = read_manifest(folder).files[NETWORK]
    seen = hits_of(network, "Effusion", 20, 20, split="train")
    pointing.write(folder, seen + hits_of(network, "Effusion", 3, 10, start=50))
    rate = hit_rates(folder, resamples=20)["Effusion"]
    assert (rate.n, rate.hits, rate.learned) == (10, 3, False)
    pointing.write(folder, seen + hits_of(network, "Effusion", 3, 9, start=50))
    rate = hit_rates(folder, resamples=20)["Effusion"]
    assert (rate.n, rate.hits, rate.learned) == (29, 23, True)


def test_hits_of_another_network_are_not_this_models(folder):
    pointing.write(folder, hits_of("ab" * 32, "Effusion", 6, 12))
    assert hit_rates(folder) == {}
    assert stated(folder) == {}
    (folder / "evaluation" / pointing.TABLE).write_text("file,hit\na,1\n")
    with pytest.raises(ModelError):
        hit_rates(folder)
    (folder / "evaluation" / pointing.TABLE).unlink()
    assert hit_rates(folder) == {}


def test_a_label_known_in_one_source_does_not_carry_the_rate_of_all(folder):
    manifest = read_manifest(folder)
    tied = replace(manifest, data=replace(manifest.data, known_within={"Pneumonia": "enriched"}))
    write_manifest(tied, folder / MANIFEST)
    network = manifest.files[NETWORK]
    pointing.write(
        folder, hits_of(network, "Pneumonia", 12, 12) + hits_of(network, "Effusion", 0, 12, start=40)
    )
    rates = hit_rates(folder, resamples=20)
    assert rates[ALL].hits == 12
    assert (rates["all but Pneumonia"].n, rates["all but Pneumonia"].hits) == (12, 0)


def test_the_default_model_holds_the_rates_of_its_own_network():
    folder = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"
    table = pd.read_csv(folder / "evaluation" / pointing.TABLE)
    rates = hit_rates(folder, resamples=20)
    assert rates[ALL].n == len(table) == 88
    assert set(table["split"]) == {"test"}
    measured = [label for label, rate in rates.items() if rate.measured]
    assert measured == [ALL, "all but Pneumonia", "Pneumonia"]
    assert read_manifest(folder).evaluation["localisation_Pneumonia_films"] == 44
    inside = table["x"].between(table["left"], table["right"]) & table["y"].between(
        table["top"], table["bottom"]
    )
    assert (inside == (table["hit"] == 1)).all()
    assert table["box_share"].to_numpy() == pytest.approx(
        ((table["right"] - table["left"]) * (table["bottom"] - table["top"])).to_numpy(), rel=1e-3
    )


def test_pointing_goes_the_way_of_the_product_on_real_films(data_dir):
    from datetime import UTC, datetime

    from cxr_core.data import readers
    from cxr_core.pipeline import load_kit
    from cxr_core.settings import Settings

    root = data_dir / "nih"
    folder = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"
    kit = load_kit(Settings(model=folder.name, models_dir=folder.parent))
    drawn = boxes(root / "BBox_List_2017.csv")[:4]
    found = pointing.point(readers.read(root), drawn, kit, now=datetime.now(UTC))
    stored = pd.read_csv(folder / "evaluation" / pointing.TABLE).set_index(["file", "finding"])
    for each in found:
        row = stored.loc[(each.file, each.finding)]
        assert bool(row["hit"]) == each.hit
        assert row["iou"] == pytest.approx(each.iou, abs=1e-3)
