"""Age, sex, view and split as data sets write them, in one spelling; what is not understood is unknown."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_OLDEST = 120
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWD]?)")
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25, "": 1.0}
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_VIEW = re.compile(r"(PA|AP)\b")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def ages(said: pd.Series) -> tuple[pd.Series, int]:
    """Return float years, NaN where unknown, and how many were none or above 120 (NIH has such).

    Understands 57, 57.0, and 057Y, 018M, 002W, 010D.
    """
    written = texts(said)
    years = written.map({word: _years(word) for word in written.unique()}).astype(float)
    return years, int((years.isna() & (written != "")).sum())


def sexes(said: pd.Series) -> pd.Series:
    """Return F, M or ""."""
    written = texts(said)
    return written.map({word: _SEXES.get(word.lower(), "") for word in written.unique()})


def views(said: pd.Series) -> tuple[pd.Series, int]:
    """Return PA, AP or "", and how many name another view."""
    written = texts(said)
    matches = {word: _VIEW.match(word.upper()) for word in written.unique()}
    known = written.map({word: match[1] if match else "" for word, match in matches.items()})
    return known, int(((known == "") & (written != "")).sum())


def split_name(word: str) -> str:
    """Return train, val or test, "" if the word is none of their names."""
    return _SPLITS.get(word.strip().lower(), "")


def texts(said: pd.Series) -> pd.Series:
    """Return text without blanks around it, "" where there is none; 12.0 is written 12."""
    if pd.api.types.is_float_dtype(said) and (said.dropna() % 1 == 0).all():
        said = said.astype("Int64")
    numbers, written = pd.factorize(said)
    spelt = np.array([*(str(each).strip() for each in written), ""], dtype=object)
    return pd.Series(spelt[numbers], index=said.index)


def _years(word: str) -> float:
    match = _AGE.fullmatch(word.upper())
    years = float(match[1]) / _PER_YEAR[match[2]] if match else np.nan
    return years if years <= _OLDEST else np.nan
