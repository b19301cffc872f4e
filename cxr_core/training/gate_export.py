"""From a trained gate to `models/gate/`: limits, ONNX, the table of its figures, card, manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import tomlkit
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from cxr_core.data.readers import read
from cxr_core.errors import ModelError
from cxr_core.evaluation.gate_faults import Film, fault_figures, picture_figures
from cxr_core.evaluation.gate_figures import Figure, figures
from cxr_core.evaluation.gate_text import text_figures
from cxr_core.imaging.decode import decode
from cxr_core.imaging.gate import INPUT, Look, LookLimits
from cxr_core.imaging.limits import Limits
from cxr_core.inference.gate_manifest import GATE, NETWORK, WEIGHTS
from cxr_core.inference.gate_network import GateNetwork, load, looks
from cxr_core.inference.runtime import open_session, self_test_film
from cxr_core.training import gate_films
from cxr_core.training.gate_films import Pictures
from cxr_core.training.gate_fit import GateNet, answers

FIGURES, CARD = "figures.csv", "card.md"
WARNED = 0.01
"""Share of val films that `mirrored` and `cropped` may each warn of."""
_TOLERANCE, _DIFFERENCE = 1e-3, 1e-3


def limits_of(look: Sequence[Look]) -> LookLimits:
    """Return the limits: even odds for what refuses, 1 % of the films of val for what warns."""
    mirrored, cropped = (
        max(0.5, float(np.quantile([getattr(each, name) for each in look], 1 - WARNED)))
        for name in ("mirrored", "cropped")
    )
    return LookLimits(0.5, 0.5, 0.5, round(mirrored, 4), round(cropped, 4))


def save(network: GateNet, val: NDArray[np.float32], folder: Path, *, version: str, recipe: Path) -> None:
    """Write network, recipe and manifest.

    Args:
        network: trained.
        val: (N, 1, 64, 64) films of val, which set the limits and on which ONNX must agree with torch.
        folder: of the gate; its files of these names are replaced, figures and card of the last one removed.
        version: of the gate.
        recipe: copied beside it.

    Raises:
        ModelError: torch and ONNX Runtime differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FIGURES, CARD):  # of the gate that was here before
        (folder / name).unlink(missing_ok=True)
    _save_onnx(network, folder / NETWORK)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / WEIGHTS)
    expected = answers(network, val)
    (got,) = open_session(folder / NETWORK, 1).run(["logits"], {"picture": val})
    if not float(np.abs(got - expected).max()) <= _DIFFERENCE:
        raise ModelError("torch and ONNX Runtime differ on the gate's network; it was not written")
    (folder / recipe.name.replace("gate", "recipe")).write_bytes(recipe.read_bytes())
    limits = limits_of(looks(expected))
    write_manifest(folder, version, limits, answers(network, self_test_film(INPUT.network_px))[0])


def _save_onnx(network: GateNet, path: Path) -> None:
    program = torch.onnx.export(
        network.cpu().eval(),
        (torch.zeros(2, 1, INPUT.network_px, INPUT.network_px),),
        input_names=["picture"],
        output_names=["logits"],
        dynamic_shapes={"pictures": {0: torch.export.Dim("number")}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ModelError("the ONNX exporter returned nothing")
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces: paths of the machine that made it
    program.save(path, external_data=False)


def write_manifest(folder: Path, version: str, limits: LookLimits, self_test: NDArray[np.float32]) -> None:
    """Write `gate.toml` over the folder's files as they are now."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != GATE)
    document = {
        "gate": {
            "version": version,
            "created": date.today(),  # noqa: DTZ011 -- the day where it was made
            "licence": "Apache-2.0",
            "summary": "What a picture shows and how it hangs, from 64 by 64 pixels.",
            "data": "Train list of NIH ChestX-ray14 (Wang et al., CVPR 2017); half of Kermany et al. (Cell "
            "2018), of a COVID-19 collection and of pictures of other things; phantoms, invented pages",
        },
        "limits": {name: getattr(limits, name) for name in LookLimits.__dataclass_fields__},
        "self_test": {"logits": [float(value) for value in self_test], "tolerance": _TOLERANCE},
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    }
    (folder / GATE).write_text(tomlkit.dumps(document), encoding="utf-8")


def held_out(data: Path) -> list[tuple[str, str, NDArray[np.float32], tuple[str, ...]]]:
    """Return the pictures that the gate was not fitted on, as `gate_figures.figures` takes them.

    Val set the limits of the two warnings; the official test list played no part.
    """
    parts: list[tuple[str, str, Pictures]] = [
        (
            "NIH val, adults (set the limits)",
            "adults",
            gate_films.chest_films(data / "nih", "val", "val", adults=True),
        ),
        (
            "NIH official test, adults",
            "adults",
            gate_films.chest_films(data / "nih", "test", "test", adults=True),
        ),
        ("children (Kermany), held out", "chest", gate_films.collection(data / "kermany", held_out=True)),
        ("COVID-19, held out", "chest", gate_films.collection(data / "covid", held_out=True)),
        ("phantoms", "chest", gate_films.phantoms(range(200_000, 200_060))),
    ]
    others = gate_films.other_pictures(data, held_out=True)
    sources = np.array(others.sources)
    parts += [(source, "other", others.where(sources == source)) for source in sorted(set(others.sources))]
    parts += [
        ("all of these", "other", others),
        ("pages, screens, plots, noise", "other", gate_films.drawn(range(10_000, 10_200))),
    ]
    return [(name, kind, pictures.inputs, pictures.patients) for name, kind, pictures in parts]


def measure(gate: GateNetwork, data: Path) -> list[Figure]:
    """Return the table of figures of the whole gate on the data folder: network, picture checks, text.

    The limits of the picture checks were chosen on films of train; text is written on films of 512 pixels.
    """
    lines = figures(gate.look, gate.manifest.limits, held_out(data))
    films = [*_films(data / "nih", "val"), *_films(data / "nih", "test")]
    lines += picture_figures(films)
    lines += fault_figures(film for film in films if film.of == "NIH val")
    return lines + text_figures(_fine_films(data / "nih"))


def _films(folder: Path, split: str) -> Iterator[Film]:
    table = read(folder).of(split).table
    for path, patient in zip(table["path"], table["patient"], strict=True):
        yield Film(f"NIH {split}", decode(Path(path).read_bytes(), Limits()).pixels, str(patient))


def _fine_films(folder: Path) -> Iterator[Film]:
    """Yield the films of 512 pixels; their names begin with the patient's number."""
    for path in sorted((folder / "images_512").glob("*.jpg")):
        patient = path.name.partition("_")[0]
        yield Film("NIH, 512 pixels", decode(path.read_bytes(), Limits()).pixels, patient)


def keep(folder: Path, lines: Sequence[Figure]) -> None:
    """Write the figures and the card, and bind both in the manifest."""
    gate = load(folder)
    _table(lines).to_csv(folder / FIGURES, index=False)
    (folder / CARD).write_text(_card(gate, lines), encoding="utf-8")
    test = np.array(gate.manifest.self_test.logits, np.float32)
    write_manifest(folder, gate.manifest.gate.version, gate.manifest.limits, test)


def _table(lines: Sequence[Figure]) -> pd.DataFrame:
    rows = [
        {
            "what": each.what,
            "share": round(each.value, 5),
            "low": round(each.low, 5),
            "high": round(each.high, 5),
            "count": each.count,
            "of": each.of,
            "said": " ".join(f"{code}={number}" for code, number in each.said),
        }
        for each in lines
    ]
    return pd.DataFrame(rows)


def as_markdown(lines: Sequence[Figure]) -> str:
    """Return the figures as a table."""
    head = "| pictures | share | 95 % interval | n |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {each.what} | {each.value:.1%} | {each.low:.1%} to {each.high:.1%} | {each.count} of {each.of} |"
        for each in lines
    )


def _card(gate: GateNetwork, lines: Sequence[Figure]) -> str:
    about, limits = gate.manifest.gate, gate.manifest.limits
    return f"""# The gate's network {about.version}

{about.summary} It runs before every model: a picture that is no chest film, lies on its side, stands
upside down or is inverted is refused with that reason; one that is mirrored or cut off is warned of.
Not a medical device.

**Data**: {about.data}. Licence of the weights: {about.licence}.

**Limits**: refused below P(chest film) {limits.chest:g} or P(upright) {limits.upright:g}, above P(inverted)
{limits.inverted:g}; warned above P(mirrored) {limits.mirrored:g}, P(cropped) {limits.cropped:g} (at most
1 % of the films of val each).

## Figures

On pictures that it was not fitted on, by `cxr gate check`; intervals by patient (Wilson on the effective
number). The network's lines, brightness alone, come first; then how often the picture checks speak, and how
often made faults and made text are found. Held-out pictures with a twin among those learned from are left
out.

{as_markdown(lines)}

## What is not measured

* Lateral films: there was one, and this network takes it for a chest film. Tags and the likeness of the
  two halves of the picture speak of them.
* Radiographs of other parts than the hand; animals; teeth. The distance of the model's features is the
  second net.
* How often a true situs inversus is warned of: mirrored films stand for it.
* Neighbours among the hand, CT and MRI pictures may show one patient: their intervals may be too narrow.
"""
