"""Films whose every element holds something that stands nowhere else, and what to look for afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom import DataElement, Dataset, FileDataset
from pydicom.config import disable_value_validation
from pydicom.datadict import DicomDictionary, keyword_for_tag, tag_for_keyword
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

TEXTS = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
BYTES = frozenset({"OB", "UN"})
DATED = {"DA": "18710317", "TM": "070809.101112", "DT": "18710317070809.101112"}


@dataclass
class Planted:
    """Tokens by tag; no two alike, and none in a film as it comes."""

    tokens: dict[BaseTag, bytes] = field(default_factory=dict)

    def plant(self, dataset: Dataset, tags: Iterable[int]) -> None:
        """Set elements that are not there yet, each to a token of its own."""
        for number in tags:
            tag = BaseTag(number)
            if tag in dataset or tag.group < 8 or tag.group >= 0x7FE0 or not keyword_for_tag(tag):
                continue
            vr = DicomDictionary[tag][0].split(" ")[-1]
            value, token = _value(vr, tag)
            if value is None:
                continue
            self.tokens[tag] = token
            with disable_value_validation():
                dataset.add(DataElement(tag, vr, value))

    def found_in(self, raw: bytes) -> set[str]:
        """Keywords of the elements whose token stands in a file; capitals count as small letters."""
        lowered = raw.lower()
        return {keyword_for_tag(tag) for tag, token in self.tokens.items() if token.lower() in lowered}


def _value(vr: str, tag: BaseTag) -> tuple[object, bytes]:
    """Return a value for an element and the bytes by which it is known."""
    token = f"Zq{int(tag):08x}"
    if vr in DATED:
        return DATED[vr], DATED[vr][:6].encode()
    if vr in TEXTS:
        return token, token.encode()
    if vr in BYTES:
        return token.encode(), token.encode()
    if vr == "UI":
        uid = f"1.2.826.{int(tag)}.77"
        return UID(uid), uid.encode()
    if vr == "IS":
        number = f"1{int(tag) % 10**8:08d}"
        return number, number.encode()
    if vr == "DS":
        return f"{int(tag)}.625", f"{int(tag)}.625".encode()
    if vr == "CS":
        return token.upper(), token.encode()
    if vr == "AS":
        return "077Y", b"077Y"
    if vr == "SQ":
        return Sequence([item(token)]), token.encode()
    return None, b""


def item(token: str) -> Dataset:
    """An item of a sequence, with a name, a text and a code that all say the token."""
    made = Dataset()
    made.PatientName, made.CodeMeaning, made.ImageComments = token, token, token
    return made


def every_standard_text() -> list[int]:
    """Tags of all in the dictionary that hold text or bytes, but those that spoil the decoding of a film."""
    telling = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription")
    apart = {tag_for_keyword(each) for each in (*telling, "ModalityLUTSequence", "VOILUTSequence")}
    held = TEXTS | BYTES | {"SQ", *DATED}
    return [tag for tag, entry in DicomDictionary.items() if entry[0] in held and tag not in apart]


def nested(dataset: FileDataset, keyword: str) -> Dataset:
    """An item in a sequence of the data set, made where there is none."""
    if keyword not in dataset:
        setattr(dataset, keyword, Sequence([Dataset()]))
    made: Dataset = dataset[keyword].value[0]
    return made
