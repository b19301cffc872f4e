from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cxr_core.batch import analyse_files, analyse_many, batched, csv_name, predict
from cxr_core.errors import StoreError
from cxr_core.pipeline import Kit, analyse
from tests.films import png

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


def write(folder: Path, number: int) -> list[Path]:
    files = [folder / f"{seed:03}.png" for seed in range(number)]
    for seed, file in enumerate(files):
        file.write_bytes(png(seed))
    return files


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_order_is_kept_and_nothing_is_read_too_far_ahead(kit):
    asked: list[int] = []

    def raws():
        for seed in range(40):
            asked.append(seed)
            yield png(seed % 5)

    answers = analyse_many(raws(), kit, now=NOW, batch=4, threads=3)
    first = next(answers)
    assert len(asked) <= 12
    assert first.sha256 == analyse(png(0), kit, now=NOW).sha256
    rest = list(answers)
    expected = [analyse(png(seed % 5), kit, now=NOW).sha256 for seed in range(40)]
    assert [first.sha256, *(answer.sha256 for answer in rest)] == expected


def test_a_consumer_that_stops_leaves_no_thread_behind(kit):
    import threading

    answers = analyse_many((png(seed) for seed in range(64)), kit, now=NOW, batch=2)
    next(answers)
    answers.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_pixels_stay_only_where_they_are_asked_for(kit, tmp_path):
    files = write(tmp_path, 3)
    without = [result.radiograph for _, result in analyse_files(files, kit, now=NOW)]
    kept = [result.radiograph for _, result in analyse_files(files, kit, now=NOW, keep_pixels=True)]
    assert {film.pixels.size for film in without} == {0}
    assert {film.pixels.shape for film in kept} == {(192, 192)}
    assert without[0].sha256 == kept[0].sha256


def test_a_file_that_cannot_be_read_is_refused(kit, tmp_path):
    files = [*write(tmp_path, 1), tmp_path / "gone.png", tmp_path]
    results = [result for _, result in analyse_files(files, kit, now=NOW)]
    assert [result.refusal and result.refusal.code for result in results] == [None] + ["unreadable_file"] * 2


def test_predict_writes_what_analyse_answers(kit, tmp_path):
    files = [*write(tmp_path, 5), tmp_path / "broken.png"]
    files[-1].write_bytes(png(9)[:-40])
    out = tmp_path / "predictions.csv"
    done: list[int] = []
    tally = predict(files, kit, out, now=NOW, batch=2, progress=done.append)
    assert (tally.answered, tally.refused, tally.skipped) == (5, 1, 0)
    assert sum(done) == 6
    rows = rows_of(out)
    assert list(rows[0]) == ["file", *kit.classifier.manifest.labels]
    assert [row["file"] for row in rows] == [str(file) for file in files[:5]]
    for row, file in zip(rows, files, strict=False):
        analysis = analyse(file.read_bytes(), kit, now=NOW)
        for answer in (*analysis.predictions, analysis.abnormal):
            assert float(row[answer.label]) == pytest.approx(answer.probability, abs=1e-5)
    (refusal,) = rows_of(tmp_path / "predictions.refused.csv")
    assert refusal["file"] == str(files[-1])
    assert refusal["code"] == "broken_image"
    assert refusal["message"]
    assert refusal["hint"]


def test_predict_goes_on_where_it_stopped(kit, tmp_path):
    files = [*write(tmp_path, 7), tmp_path / "broken.png"]
    files[-1].write_bytes(b"nothing")
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    predict(files, kit, whole, now=NOW, batch=2)
    predict([files[7], *files[:3]], kit, parts, now=NOW, batch=2)
    with parts.open("ab") as handle:
        handle.write(b"half a ro")
    tally = predict(files, kit, parts, now=NOW, batch=2)
    assert (tally.answered, tally.refused, tally.skipped, tally.skipped_refused) == (4, 0, 4, 1)
    assert [row["file"] for row in rows_of(parts)] == [row["file"] for row in rows_of(whole)]
    assert rows_of(tmp_path / "parts.refused.csv") == rows_of(tmp_path / "whole.refused.csv")
    assert predict(files, kit, parts, now=NOW).answered == 0


def test_rows_of_two_models_or_behind_two_gates_are_not_mixed(kit, tmp_path):
    from dataclasses import replace

    files, out = write(tmp_path, 1), tmp_path / "a.csv"
    predict(files, kit, out, now=NOW)
    manifest = kit.classifier.manifest
    other = replace(manifest, model=replace(manifest.model, version="9.9.9"))
    newer = Kit(kit.limits, replace(kit.classifier, manifest=other), kit.policy, kit.gate)
    with pytest.raises(StoreError, match="another model or gate"):
        predict(files, newer, out, now=NOW)
    about = replace(kit.gate.manifest, gate=replace(kit.gate.manifest.gate, version="9.9.9"))
    with pytest.raises(StoreError, match="another model or gate"):
        predict(files, replace(kit, gate=replace(kit.gate, manifest=about)), out, now=NOW)


def test_names_that_a_spreadsheet_would_run_still_name_the_file(tmp_path):
    assert csv_name(Path("=cmd.png")) == "./=cmd.png"
    assert csv_name(Path("a/=b.png")) == "a/=b.png"


def test_batches_hold_everything_once():
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched([], 3)) == []


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_every_film_once(tiny_model, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    files = write(folder, 150)
    out = tmp_path / "predictions.csv"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CXR_")}
    environ = clean | {
        "CXR_HOME": str(tmp_path),
        "CXR_MODELS_DIR": str(tiny_model.parent),
        "CXR_MODEL": tiny_model.name,
    }
    command = [sys.executable, "-m", "cxr_core.cli", "predict", str(folder), "--out", str(out)]
    moments = random.Random(7)  # noqa: S311
    kills = 0
    for _ in range(60):
        run = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        size = out.stat().st_size if out.exists() else 0
        while run.poll() is None and kills < 4:
            if out.exists() and out.stat().st_size > size:
                time.sleep(moments.uniform(0, 0.05))
                run.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        _, errors = run.communicate()
        if run.returncode != -signal.SIGKILL:
            assert run.returncode == 0, errors.decode()
            break
    assert kills >= 1
    assert sorted(row["file"] for row in rows_of(out)) == sorted(map(str, files))
