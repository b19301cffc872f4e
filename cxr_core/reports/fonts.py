"""Where the Unicode font lies: DejaVu Sans, which ships inside matplotlib."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cxr_core.errors import CxrError

_SYSTEM = Path("/usr/share/fonts/truetype/dejavu")


@cache
def font(name: str = "DejaVuSans") -> Path:
    """Return the path of a DejaVu font; matplotlib is looked up, never imported.

    Raises:
        CxrError: neither matplotlib nor the system has it.
    """
    spec = find_spec("matplotlib")
    homes = (
        [Path(place) / "mpl-data/fonts/ttf" for place in (spec.submodule_search_locations or ())]
        if spec
        else []
    )
    for home in (*homes, _SYSTEM):
        if (path := home / f"{name}.ttf").is_file():
            return path
    raise CxrError(f"font {name}.ttf not found: install matplotlib or the system's DejaVu fonts")
