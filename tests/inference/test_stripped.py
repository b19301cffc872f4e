"""A model folder whose network lies elsewhere: sound, shown, answering nothing, and whole again."""

import shutil
from dataclasses import replace

import pytest

from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, read_manifest, write_manifest
from cxr_core.inference.stripped import ELSEWHERE, LONGEST, NETWORK_FILES, elsewhere, strip
from tests.inference.tiny import ALL, rewrite


@pytest.fixture
def stripped(tiny_model, tmp_path):
    """The tiny model with a table, and the folder that its network went to."""
    (tiny_model / "evaluation").mkdir()
    table = ",".join(("file", *ALL)) + "\n"
    (tiny_model / "evaluation" / "predictions-val.csv").write_text(table, encoding="utf-8")
    rewrite(tiny_model, read_manifest(tiny_model))
    place = strip(tiny_model, registry.verify(tiny_model), tmp_path / "away", "on the shelf\nover there")
    return tiny_model, place


def refusal(folder, ask=registry.load):
    with pytest.raises(ModelError) as raised:
        ask(folder)
    return str(raised.value)


def test_it_is_sound_says_where_its_network_is_and_answers_nothing(stripped):
    folder, place = stripped
    assert sorted(path.name for path in place.iterdir()) == sorted(NETWORK_FILES)
    assert elsewhere(folder) == "on the shelf over there"
    assert registry.verify(folder).files[registry.NETWORK] == registry.sha256_of(place / registry.NETWORK)
    said = refusal(folder)
    assert said == "tiny: figures only, its network is not in this copy (on the shelf over there)"


def test_the_very_network_makes_it_whole_again_and_no_other_does(stripped):
    folder, place = stripped
    before = (folder / MANIFEST).read_bytes()
    for name in NETWORK_FILES:
        shutil.copyfile(place / name, folder / name)
    assert registry.load(folder).manifest.labels == ALL
    assert (folder / MANIFEST).read_bytes() == before
    (folder / registry.NETWORK).write_bytes(b"another")
    assert "model.onnx was altered" in refusal(folder)


def test_a_folder_that_lost_its_network_or_half_of_it_is_damaged(stripped):
    folder, place = stripped
    shutil.copyfile(place / registry.WEIGHTS, folder / registry.WEIGHTS)
    assert refusal(folder, registry.verify) == "tiny: model.onnx is missing"
    (folder / registry.WEIGHTS).unlink()
    (folder / ELSEWHERE).unlink()
    assert refusal(folder, registry.verify) == "tiny: model.onnx is missing"


def test_whatever_else_lies_there_is_checked_as_ever(stripped):
    folder, _ = stripped
    (folder / "card.md").write_text("altered", encoding="utf-8")
    assert "card.md was altered" in refusal(folder, registry.verify)


def test_tables_of_other_labels_and_an_unlisted_network_are_refused(stripped):
    folder, _ = stripped
    manifest = read_manifest(folder)
    swapped = replace(manifest, model=replace(manifest.model, labels=(ALL[1], ALL[0], *ALL[2:])))
    write_manifest(swapped, folder / MANIFEST)
    assert "in another order, than evaluation/predictions-val.csv" in refusal(folder, registry.verify)
    unlisted = {name: sha256 for name, sha256 in manifest.files.items() if name != registry.NETWORK}
    write_manifest(replace(manifest, files=unlisted), folder / MANIFEST)
    assert "does not say which model.onnx lies elsewhere" in refusal(folder, registry.verify)


def test_a_long_or_hostile_note_is_one_short_printable_line(stripped):
    folder, _ = stripped
    (folder / ELSEWHERE).write_bytes(b"\x1b[2J\xff" + b"a\n" * 10_000)
    said = elsewhere(folder)
    assert len(said) <= LONGEST
    assert said.isprintable()
    (folder / ELSEWHERE).write_text("")
    assert elsewhere(folder) == "nobody wrote down where its network is"


def test_nothing_is_written_over_where_the_network_goes(tiny_model, tmp_path):
    (tmp_path / "away" / "tiny").mkdir(parents=True)
    (tmp_path / "away" / "tiny" / registry.WEIGHTS).write_text("somebody's")
    with pytest.raises(ModelError, match=r"holds weights\.safetensors already"):
        strip(tiny_model, registry.verify(tiny_model), tmp_path / "away", "")
    assert registry.load(tiny_model)


def test_hashes_keep_those_of_the_network(stripped):
    folder, _ = stripped
    assert registry.hashes(folder) == dict(sorted(read_manifest(folder).files.items()))


def test_tables_added_to_it_are_named_and_its_network_still_is(stripped):
    folder, _ = stripped
    before = registry.verify(folder)
    (folder / "evaluation" / "added.csv").write_text("a\n1\n", encoding="utf-8")
    registry.seal(folder, before)
    assert dict(registry.verify(folder).files) == before.files | {
        "evaluation/added.csv": registry.sha256_of(folder / "evaluation" / "added.csv")
    }
