"""How fast, how big: one table from one run. `python benchmarks/latency.py`, or `make bench`.

Times are medians of wall time in milliseconds on whatever else this machine is doing; nothing is
left out of a step that a person would wait for. CXR_MODEL and CXR_MODELS_DIR choose the model.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cxr_core import settings
from cxr_core.batch import BATCH, batched, predict
from cxr_core.domain import Analysis
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.inference.registry import WEIGHTS
from cxr_core.pipeline import Kit, analyse, heatmaps, load_kit, prepare

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 15
FILMS = 64
ROUNDS = 3
PAGE = (
    "import resource, streamlit\n"
    "from cxr_core.ui import examples, intake, shell, study_card, theme, worklist_page\n"
)
LOADED = PAGE + (
    "from datetime import UTC, datetime\n"
    "from pathlib import Path\n"
    "from cxr_core import settings\n"
    "from cxr_core.pipeline import analyse, heatmaps, load_kit\n"
    "kit = load_kit(settings.load())\n"
    "for _ in range(3):\n"
    "    answer = analyse(Path({film!r}).read_bytes(), kit, now=datetime.now(UTC))\n"
    "    heatmaps(answer, kit)\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what, how much, in what unit, against what, what is aimed at."""

    what: str
    value: float
    unit: str = "ms"
    ratio: str = ""
    aim: str = ""


def main() -> None:
    """Measure everything and print it."""
    kit = load_kit(settings.load())
    now = datetime.now(UTC)
    phantom = make_phantom(1, ("Effusion",), size=1024)
    png, dicom = phantom_png(phantom), dicom_2000()
    rows = [*start(png), *cards(png, dicom, kit, now), *others(png, kit), *throughput(png, kit, now)]
    table = Table("what", "value", "ratio", "aim", title=machine(kit))
    for row in rows:
        table.add_row(row.what, f"{row.value:,.1f} {row.unit}", row.ratio, row.aim)
    Console(width=130).print(table)


def start(png: bytes) -> Iterator[Row]:
    """Measure a fresh process: importing the page, and its memory after three films."""
    yield Row("page import, cold process", fresh(PAGE)[0], aim="< 3,000 ms")
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.png"
        film.write_bytes(png)
        memory = float(fresh(LOADED.format(film=str(film)))[1])
    yield Row("app's modules, model and three films: peak memory", memory, "MB", aim="< 600 MB")


def cards(png: bytes, dicom: bytes, kit: Kit, now: datetime) -> Iterator[Row]:
    """Measure bytes → analysis with all heatmaps, step by step."""
    for name, raw, aim in (
        ("PNG 1024 x 1024, 8 bit", png, "< 60 ms"),
        ("DICOM 2000 x 2000, 12 bit", dicom, ""),
    ):
        answer = analyse(raw, kit, now=now)
        if answer.refusal:
            raise SystemExit(f"{name}: refused with {answer.refusal.code}")
        answers: list[Analysis] = []

        def card(raw: bytes = raw, answers: list[Analysis] = answers) -> None:
            answers.append(analyse(raw, kit, now=now))
            heatmaps(answers[-1], kit)

        whole = median(card)
        medians = {
            step: statistics.median(each.timings_ms[step] for each in answers) for step in answer.timings_ms
        }
        steps = ", ".join(f"{step} {ms:.0f}" for step, ms in medians.items())
        yield Row(f"bytes → card with heatmaps, {name}", whole, ratio=steps, aim=aim)
        shares = [each.timings_ms["gate"] / sum(each.timings_ms.values()) for each in answers]
        yield Row(f"the gate's share of analyse, {name}", 100 * statistics.median(shares), "%", aim="< 15 %")


def others(png: bytes, kit: Kit) -> Iterator[Row]:
    """Measure the network beside torch, the closed form beside Grad-CAM, and a plain torch script."""
    classifier = kit.classifier
    side, members = classifier.manifest.recipe.network_px, classifier.manifest.model.members
    film = np.random.default_rng(0).uniform(-1, 1, (1, 1, side, side)).astype(np.float32)
    answer = analyse(png, kit, now=datetime.now(UTC))
    forward = median(lambda: classifier.run(film))
    closed = median(lambda: heatmaps(answer, kit))
    labels = len(classifier.manifest.labels)
    yield Row(f"forward pass, {members} members, ONNX Runtime", forward)
    yield Row(
        f"{labels} heatmaps in closed form, on top of it",
        closed,
        ratio=f"forward + heatmaps = {(forward + closed) / forward:.2f} x forward",
        aim="< 1.1 x",
    )
    if classifier.manifest.model.architecture == "mobilenet_v2_grey":
        eager, grad_cam = torch_reference(kit, film)
        yield Row("the same network, torch eager", eager, ratio=f"{eager / forward:.1f} x ONNX Runtime")
        times = grad_cam / (forward + closed), grad_cam / closed
        ratio = f"{times[0]:.0f} x ours with its forward pass, {times[1]:,.0f} x without"
        yield Row(f"pytorch-grad-cam, 14 findings x {members} members", grad_cam, ratio=ratio, aim=">= 20 x")
    script = xrayvision_style(png)
    yield Row(
        "TorchXRayVision-style script: DenseNet-121 at 224, torch eager, no heatmap",
        script,
        ratio=f"{script / forward:.1f} x our network's pass",
    )


def throughput(png: bytes, kit: Kit, now: datetime) -> Iterator[Row]:
    """Measure `predict` beside decoding alone and the network alone, on copies of one PNG."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(FILMS)]
        for file in files:
            file.write_bytes(png)
        films = [film for film in [prepare(png, kit, now=now)] if hasattr(film, "array")]
        batch = np.repeat(films[0].array[None], BATCH, axis=0)
        works: dict[str, Callable[[int], object]] = {
            "decode": lambda turn: decode_all(files, kit, now),
            "network": lambda turn: [
                kit.classifier.run(batch[: len(group)]) for group in batched(files, BATCH)
            ],
            "predict": lambda turn: predict(files, kit, Path(folder) / f"{turn}.csv", now=now),
        }
        # In turns, so that a change in the machine's other load meets all three alike.
        turns = [{name: rate(work, turn) for name, work in works.items()} for turn in range(ROUNDS)]
    rates = {name: statistics.median(turn[name] for turn in turns) for name in works}
    allowed = 1 / (1 / rates["decode"] + 1 / rates["network"])
    yield Row("decode, gate and preprocess alone, all processors", rates["decode"], "films/s")
    yield Row(f"network alone, batches of {BATCH}", rates["network"], "films/s")
    yield Row(
        "cxr predict, with CSV on disk",
        rates["predict"],
        "films/s",
        ratio=f"{rates['predict'] / allowed:.0%} of the {allowed:.1f} that both allow",
        aim=">= 90 %",
    )


def torch_reference(kit: Kit, film: np.ndarray) -> tuple[float, float]:
    """Return ms of one eager pass of all members, and of Grad-CAM for 14 findings through all of them."""
    import torch
    from safetensors.torch import load_file

    from cxr_core.inference.explain_torch import grad_cam
    from cxr_core.training.describe import recipe_of
    from cxr_core.training.networks import build
    from cxr_core.training.served import Served

    manifest = kit.classifier.manifest
    folder = settings.load().models_dir / manifest.id
    recipe, weights = recipe_of(folder), load_file(folder / WEIGHTS)
    members = [build(recipe.network, len(manifest.labels)) for _ in recipe.served]
    served, picture = Served(members).eval(), torch.from_numpy(film)
    served.load_state_dict({key: value for key, value in weights.items() if key.startswith("members.")})
    with torch.inference_mode():
        eager = median(lambda: served(picture))
    explain = lambda: [grad_cam(member, member.features[-1], picture, range(14)) for member in members]  # noqa: E731
    return eager, median(explain, repeats=1)


def xrayvision_style(png: bytes) -> float:
    """Return ms of the usual script, import and model loading left out, weights random.

    Read with Pillow, scale to [-1024, 1024], centre crop, resize to 224 with anti-aliasing, one
    pass of torchvision's DenseNet-121 (one grey channel, 18 outputs) in torch eager.
    """
    import torch
    from PIL import Image
    from scipy.ndimage import gaussian_filter, zoom
    from torchvision.models import densenet121

    network = densenet121(num_classes=18)
    network.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    network.eval()

    def script() -> None:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture.convert("L"), np.float32) / 255 * 2048 - 1024
        side = min(pixels.shape)
        top, left = ((length - side) // 2 for length in pixels.shape)
        factor = side / 224
        smooth = gaussian_filter(pixels[top : top + side, left : left + side], (factor - 1) / 2)
        small = zoom(smooth, 224 / side, order=1)
        with torch.inference_mode():
            network(torch.from_numpy(small[None, None].astype(np.float32)))

    return median(script)


def dicom_2000() -> bytes:
    """Return a 2000 x 2000 film of 12 bits, uncompressed."""
    from cxr_core.imaging.phantom_dicom import phantom_dicom

    return phantom_dicom(make_phantom(2, size=2000), bits=12)


def decode_all(files: list[Path], kit: Kit, now: datetime) -> None:
    """Prepare every file with as many threads as `predict` uses."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda file: prepare(file.read_bytes(), kit, now=now), files))


def median(work: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Return the median wall time of `work` in ms, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def rate(work: Callable[[int], object], turn: int) -> float:
    """Return films a second of one run over FILMS films."""
    begin = time.perf_counter()
    work(turn)
    return FILMS / (time.perf_counter() - begin)


def fresh(code: str) -> tuple[float, str]:
    """Return ms and last line of output of a new interpreter."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    return (time.perf_counter() - begin) * 1e3, lines[-1] if lines else ""


def machine(kit: Kit) -> str:
    """Return what this was measured on."""
    load = os.getloadavg()[0]
    return f"{kit.versions.model}, {os.cpu_count()} processors, load {load:.1f} at the start"


if __name__ == "__main__":
    main()
