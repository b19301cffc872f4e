"""Many distinct small films from one phantom: each differs in a pixel, DICOM files also in their UIDs."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from cxr_core.imaging.phantom import Phantom, make_phantom
from cxr_core.imaging.phantom_dicom import phantom_dicom

SIDE = 256


class Films:
    """Equal arguments give equal bytes. The model's gate accepts all of them."""

    def png(self, number: int = 0) -> bytes:
        """A film without tags."""
        grey = np.round(self._phantom.image * 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(_marked(grey, number, 255)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def dicom(
        self,
        number: int = 0,
        *,
        study: int | None = None,
        pixels: int | None = None,
        patient_id: str | None = None,
        patient_name: str = "Phantom^Synthetic",
        **elements: Any,
    ) -> bytes:
        """A film with tags.

        Args:
            number: decides SOPInstanceUID, and what is not given below.
            study: number of the study it belongs to; StudyInstanceUID follows from it.
            pixels: number that decides the picture.
            patient_id, patient_name: of the invented person; the study decides the id if not given.
            elements: further DICOM elements by keyword; None removes one.
        """
        study = number if study is None else study
        ds = pydicom.dcmread(io.BytesIO(self._dicom))
        stored = _marked(ds.pixel_array, number if pixels is None else pixels, 4095)
        ds.PixelData = stored.tobytes()
        ds.PatientID = f"SYNTHETIC-{study}" if patient_id is None else patient_id
        ds.PatientName = patient_name
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.1{study:09}", f"2.25.2{study:09}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.3{number:09}"
        for keyword, value in elements.items():
            if value is None:
                ds.pop(keyword, None)
            else:
                setattr(ds, keyword, value)
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    @cached_property
    def _phantom(self) -> Phantom:
        return make_phantom(3, size=SIDE)

    @cached_property
    def _dicom(self) -> bytes:
        return phantom_dicom(self._phantom)


def _marked(pixels: np.ndarray, number: int, top: int) -> np.ndarray:
    """Write the number into the first pixels, six bits in each."""
    marked = pixels.copy()
    for place in range(5):
        marked[0, place] = (number >> (6 * place)) % 64 * top // 63
    return marked
