"""Nothing that a decoder warns of or logs gets out: it may quote the patient."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from PIL import Image

from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.quiet import quiet
from tests.imaging.dicom_files import film_file, insert_element, ramp


def test_warnings_are_silent_inside_and_alive_outside():
    with quiet():
        warnings.warn("inside", stacklevel=1)
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)


def test_the_bomb_warning_of_pillow_is_an_error():
    with quiet(), pytest.raises(Image.DecompressionBombWarning):
        warnings.warn("large", Image.DecompressionBombWarning, stacklevel=1)


def test_threads_leave_the_filters_as_they_found_them():
    before = list(warnings.filters)
    together = Barrier(8)

    def work(turn: int) -> None:
        together.wait()
        for _ in range(50 + turn):
            with quiet():
                warnings.warn("inside", stacklevel=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert warnings.filters == before


def test_a_film_with_wrong_values_leaves_no_line_in_the_log(caplog, capfd):
    raw = film_file(
        ramp("uint8", 8),
        PatientAge="Zebedee",
        PatientSex="Zebedee",
        StudyDate="Zebedee",
        PatientName="Zebedee",
    )
    raw = insert_element(raw, "SpecificCharacterSet", b"Zebedee")
    with caplog.at_level(logging.DEBUG):
        decode(raw, Limits())
    out = capfd.readouterr()
    assert "Zebedee" not in caplog.text + out.out + out.err
