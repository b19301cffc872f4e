"""The codes are a closed, documented set."""

from __future__ import annotations

import re
from pathlib import Path

import cxr_core.imaging
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.refusals import NOTES, REFUSALS, WARNINGS, as_markdown, reject

PACKAGE = Path(cxr_core.imaging.__path__[0])


def test_the_document_is_the_table():
    assert (PACKAGE.parents[1] / "docs" / "refusals.md").read_text(encoding="utf-8") == as_markdown()


def test_every_code_in_the_source_is_in_the_table_and_every_code_of_the_table_is_used():
    core = PACKAGE.parent
    others = ("pipeline.py", "batch.py", "cli_decode.py", "cli_deidentify.py")
    files = [
        *PACKAGE.glob("*.py"),
        *(core / name for name in others),
        *core.glob("worklist/*.py"),
        *core.glob("inference/*.py"),
    ]
    source = "".join(path.read_text(encoding="utf-8") for path in files if path.stem != "refusals")
    for table, function in ((REFUSALS, "reject|refusal"), (WARNINGS, "warning"), (NOTES, r"note|notes\.add")):
        used = set(re.findall(rf"(?<!_log\.)\b(?:{function})\(\s*\"([a-z_0-9]+)\"", source))
        assert used <= set(table)
        assert set(table) <= set(re.findall(r"\"([a-z_0-9]+)\"", source))


def test_a_code_means_one_thing():
    assert len({*REFUSALS, *WARNINGS, *NOTES}) == len(REFUSALS) + len(WARNINGS) + len(NOTES)


def test_every_refusal_says_what_and_what_to_do():
    for code in REFUSALS:
        refused = reject(code, found=7, limit=5)
        assert refused.message.endswith(".")
        assert refused.hint.endswith(".")
        assert "{" not in refused.message


def test_a_film_that_can_be_corrected_names_one_fix_that_is_anyones():
    """Whoever may correct is offered that beside it, by the page and by `cxr triage`."""
    for code in CORRECTIONS:
        hint = reject(code).hint
        assert hint.count(".") == 1
        assert not re.search(r"[;,]| or |correct", hint)
