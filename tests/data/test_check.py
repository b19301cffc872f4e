"""Each fault is planted in sound data and found; sound data are called sound."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.data.check import NOTES, check
from cxr_core.data.pixels import ALIKE, copies, film_print, likeness, look
from cxr_core.data.readers import read
from cxr_core.data.ties import SHORTCUTS, cramers_v
from cxr_core.imaging.phantom import make_phantom
from tests.data.made import csv
from tests.films import png

ROOT = Path(__file__).parents[2]


def rows(count=60):
    """Sound data: twenty patients in each split, labels, sex and source by turns of other lengths."""
    return [
        dict(
            file=f"{number:03d}.png",
            labels=("Effusion", "No Finding", "Mass", "No Finding", "Effusion|Mass")[number % 5],
            patient=f"p{number}",
            split=("train", "val", "test")[number % 3],
            age=20 + number % 60,
            sex="FM"[number // 2 % 2],
            view=("PA", "AP")[number // 4 % 2],
            source="ab"[number // 3 % 2],
        )
        for number in range(count)
    ]


def faults(root):
    index = read(root, checked=False)
    return Counter(problem.code for problem in check(index, look(index, workers=2)).faults)


def film(root, number):
    return root / "images" / f"{number:03d}.png"


def test_sound_data_have_no_fault(tmp_path):
    assert faults(csv(tmp_path, rows())) == {}


def patient_in_two_splits(planted, root):
    planted[4]["patient"] = planted[3]["patient"]


def missing_file(planted, root):
    planted.append({**planted[0], "file": "gone.png", "patient": "gone"})


def unknown_label(planted, root):
    planted[0]["labels"] = "Efusion"


def no_patient(planted, root):
    planted[7]["patient"] = ""


def duplicate_row(planted, root):
    planted.append(planted[5])


def contradictory_rows(planted, root):
    planted.append({**planted[5], "labels": "Mass"})


def contradictory_labels(planted, root):
    planted[1]["labels"] = "No Finding|Mass"


def unknown_split(planted, root):
    planted[2]["split"] = "holdout"


def other_view(planted, root):
    planted[2]["view"] = "LATERAL"


def rare_label(planted, root):
    planted[0]["labels"] += "|Hernia"


def one_sided_label(planted, root):
    for row in planted:
        row["labels"] += "|Edema" if "No" not in row["labels"] else ""
        row["labels"] = row["labels"].replace("No Finding", "Edema")


def tied_to_source(planted, root):
    for row in planted:
        row["source"] = "ab"["Mass" in row["labels"]]


@pytest.mark.parametrize(
    "fault",
    [
        patient_in_two_splits,
        missing_file,
        unknown_label,
        no_patient,
        duplicate_row,
        contradictory_rows,
        contradictory_labels,
        unknown_split,
        other_view,
        rare_label,
        one_sided_label,
        tied_to_source,
    ],
)
def test_a_fault_planted_in_the_table_is_found(tmp_path, fault):
    planted = rows()
    fault(planted, tmp_path)
    csv(tmp_path, planted)
    (tmp_path / "images" / "gone.png").unlink(missing_ok=True)
    found = faults(tmp_path)
    assert found.pop(fault.__name__) >= 1
    if fault is one_sided_label:  # no film is normal any more either
        found.pop("one_sided_label", None)
    assert found == {}


def unreadable_film(root):
    film(root, 8).write_bytes(film(root, 8).read_bytes()[:100])


def same_film(root):
    film(root, 9).write_bytes(film(root, 4).read_bytes())


def same_film_other_labels(root):
    film(root, 3).write_bytes(film(root, 0).read_bytes())


def near_duplicate(root):
    with Image.open(film(root, 3)) as image:
        image.resize((97, 97)).save(film(root, 7))


def tied_to_size(root):
    for number, row in enumerate(rows()):
        if "Mass" in row["labels"]:
            film(root, number).write_bytes(png(number, 80, chest=0.0))


@pytest.mark.parametrize(
    "fault", [unreadable_film, same_film, same_film_other_labels, near_duplicate, tied_to_size]
)
def test_a_fault_planted_in_the_films_is_found(tmp_path, fault):
    root = csv(tmp_path, rows())
    fault(root)
    found = faults(root)
    assert found.pop(fault.__name__) >= 1
    assert found == {}


def changed(kind, grey):
    image = Image.fromarray(np.round(grey * 255).astype(np.uint8))
    if kind == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=40)
        image = Image.open(buffer)
    change = {
        "smaller": lambda: image.resize((77, 77), Image.Resampling.BICUBIC),
        "larger": lambda: image.resize((400, 400), Image.Resampling.BICUBIC),
        "jpeg": lambda: image,
        "brighter": lambda: image.point(lambda v: min(255, v * 1.08 + 8)),
        "gamma": lambda: image.point(lambda v: 255 * (v / 255) ** 1.3),
        "mirrored": lambda: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "inverted": lambda: image.point(lambda v: 255 - v),
    }[kind]()
    return np.asarray(change, dtype=np.float32) / 255


KINDS = ["smaller", "larger", "jpeg", "brighter", "gamma", "mirrored", "inverted"]


@pytest.fixture(scope="module")
def phantoms():
    return [make_phantom(seed, size=96).image for seed in range(5)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_altered_chest_film_is_known_for_a_copy_of_its_own(phantoms, kind):
    """Phantoms are more alike than people are: that others are no copies is tested on real films."""
    originals = np.stack([film_print(each) for each in phantoms])
    altered = np.stack([film_print(changed(kind, each)) for each in phantoms])
    alike = likeness(originals, altered)
    assert alike.diagonal().min() > ALIKE + 0.05
    assert {(k, k) for k in range(5)} <= {(i, j) for i, j, _ in copies(originals, altered)}
    assert list(alike.argmax(axis=1)) == list(range(5))


def test_likeness_of_a_film_without_any_pattern_is_none():
    blank = film_print(np.full((64, 64), 0.5, dtype=np.float32))[None]
    assert likeness(blank, blank)[0, 0] == 0


def test_real_films_of_different_patients_are_not_taken_for_copies(data_dir):
    index = read(data_dir / "nih").of("val")
    some = index.where(np.arange(len(index)) < 300)
    prints = look(some).prints
    alike = likeness(prints, prints)
    patients = some.table["patient"].to_numpy()
    other = patients[:, None] != patients[None]
    assert alike[other].max() < ALIKE - 0.05
    assert alike.diagonal().min() == 1


def test_cramers_v_by_hand():
    assert cramers_v(np.array([[10, 0], [0, 30]])) == pytest.approx(1)
    assert cramers_v(np.array([[10, 20], [20, 40]])) == pytest.approx(0)
    # chi² = 60 (15·25 - 5·15)² / (20·40·30·30) = 7.5, V = √(7.5 / 60)
    assert cramers_v(np.array([[15, 5], [15, 25]])) == pytest.approx(np.sqrt(0.125))


def test_a_fact_of_many_values_does_not_seem_to_tell_a_label(tmp_path):
    planted = rows(120)
    rng = np.random.default_rng(0)
    for row in planted:
        row["source"] = f"hospital {rng.integers(60)}"
    assert faults(csv(tmp_path, planted)) == {}


def test_counts_are_those_of_the_table(tmp_path):
    index = read(csv(tmp_path, rows()))
    result = check(index, None)
    assert result.labels.loc["Effusion", ("train", "positive")] == int(
        index.of("train").truth(["Effusion"]).sum()
    )
    assert result.groups["sex"].to_numpy().sum() == 60
    assert list(result.groups["age"].index) == ["20s", "30s", "40s", "50s", "60s", "70s"]
    assert list(result.groups["size"].index) == ["64"]
    assert not result.looked


def test_the_command_says_sound_writes_a_page_and_exits_0(tmp_path):
    root, page = csv(tmp_path / "set", rows()), tmp_path / "check.html"
    done = CliRunner().invoke(app, ["data", "check", str(root), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "faults: none" in done.output
    text = page.read_text(encoding="utf-8")
    assert "Sound." in text
    assert text.count("data:image/jpeg") == 3 * 6 + 6
    outside = text.replace("</script>", "<script>").split("<script>")[2:]
    assert not any("http" in part for part in outside if "data:image" in part)


def test_the_command_lists_faults_and_exits_3(tmp_path):
    planted = rows()
    planted[4]["patient"] = "Jane^Doe"
    planted[3]["patient"] = "Jane^Doe"
    planted[0]["labels"] = "<b>Efusion"
    root, page = csv(tmp_path / "set", planted), tmp_path / "check.html"
    with Image.open(film(root, 6)) as image:
        image.resize((97, 97)).save(film(root, 7))
    done = CliRunner().invoke(app, ["data", "check", str(root), "--json", "--html", str(page)])
    assert done.exit_code == 3, done.output
    record = json.loads(done.stdout)
    assert {each["code"] for each in record["faults"]} == {
        "patient_in_two_splits",
        "unknown_label",
        "near_duplicate",
    }
    assert record["labels"]["Mass"]["train"] == {"positive": 8, "known": 20}
    assert record["size"]["64 × 64"] == {"train": 20, "val": 19, "test": 20}
    text = page.read_text(encoding="utf-8")
    assert "Jane" not in done.output + text, "no patient is named"
    assert "<b>Efusion" not in text
    assert "Near-duplicates" in text


def test_quick_opens_no_film(tmp_path):
    root = csv(tmp_path, rows())
    unreadable_film(root)
    done = CliRunner().invoke(app, ["data", "check", str(root), "--quick"])
    assert done.exit_code == 0, done.output


def test_the_command_exits_1_on_what_it_cannot_read(tmp_path):
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert done.exit_code == 1
    assert "expected Data_Entry_2017*.csv" in done.stderr


def test_the_local_films_have_no_leak_and_the_shortcut_that_is_known(data_dir):
    """Every label but these two is free of its source; Pneumonia is held to one for that reason."""
    index = read(data_dir / "nih", small_films=True, checked=False)
    found = {(problem.code, problem.where) for problem in check(index, None).faults}
    assert found == {("tied_to_source", "Pneumonia"), ("tied_to_source", "Edema")}


def test_every_code_stands_in_the_documentation():
    sources = "".join(path.read_text() for path in (ROOT / "cxr_core" / "data").glob("*.py"))
    used = set(re.findall(r'(?:Problem\(\s*|code, text = )"([a-z_]+)"', sources))
    used |= {f"tied_to_{fact}" for fact in SHORTCUTS} | NOTES
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "data.md").read_text()))
    assert len(used) > 20
    assert used <= documented
