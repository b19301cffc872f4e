"""`cxr evaluate`: how well a model does, with intervals, from its tables or on films."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_core import settings
from cxr_core.cli_models import failures, progress
from cxr_core.cli_service import refuse_in_force

if TYPE_CHECKING:
    from rich.table import Table

    from cxr_core.data.index import Index, Problem
    from cxr_core.evaluation import reference
    from cxr_core.evaluation.bootstrap import Interval
    from cxr_core.evaluation.doubt import Doubt
    from cxr_core.evaluation.paired import Comparison
    from cxr_core.evaluation.record import Evaluation
    from cxr_core.evaluation.report import Progress
    from cxr_core.evaluation.scored import Scored
    from cxr_core.settings import Settings

RATES = ("auc", "ap", "sensitivity", "specificity", "ppv", "npv", "error", "f1")
STEPS = 1000
_PAIRED = "95 % intervals by bootstrap over patients, the same drawn for both; around 0: not shown to differ"


def evaluate(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="Default CXR_MODEL.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Have the model answer these films; default: its own tables."),
    ] = None,
    split: Annotated[str, typer.Option(help="val or test; with --data also train.")] = "val",
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="How much higher than this model, on the same films.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object (docs/evaluation.md) instead of a table.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep what was found in the model folder.")] = False,
    resamples: Annotated[int, typer.Option(min=1, metavar="N", help="Of the bootstrap.")] = 2000,
    look: Annotated[
        bool, typer.Option("--check", help="With --data: open val and test to find copies of one film.")
    ] = False,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Do heatmaps point into the boxes that radiologists drew?")
    ] = False,
    noise: Annotated[
        bool, typer.Option("--noise", help="How right are text-mined labels, by adjudicated ones?")
    ] = False,
    external: Annotated[
        bool, typer.Option("--external", help="What does it say of other populations: kermany, covid?")
    ] = False,
    most: Annotated[
        int, typer.Option(metavar="N", help="Films of each other population at most; 0: all.")
    ] = 0,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="What do noise, blur, tilt, writing do to films of val?")
    ] = False,
    changed: Annotated[
        int, typer.Option("--films", metavar="N", min=0, help="With --robustness: films at most; 0: all.")
    ] = 400,
) -> None:
    """Measure a model: AUC, average precision and what its thresholds do, with 95 % intervals by patient.

    Without --data it needs no film. Patients, films and copies in two splits are named on stderr.
    --boxes, --noise, --external and --robustness look at the films of --data, or of CXR_DATA, instead; the
    last goes on where it was ended. --write changes the manifest and is refused for a model that a lead
    activated: it would answer no film any more.
    """
    from cxr_core import cli_evaluate_films as films
    from cxr_core.errors import ModelError
    from cxr_core.evaluation import reference
    from cxr_core.evaluation.paired import compare

    with failures():
        chosen = settings.load()
        folder = chosen.models_dir / (model_id or chosen.model)
        if write:
            refuse_in_force(chosen, folder.name)
        if asked := films.Asked(boxes, noise, external, robustness, most, changed):
            for line in films.look(folder, films.root_of(data or chosen.data), asked, chosen, write=write):
                typer.echo(line)
            return
        if write and (data or against):
            raise ModelError("--write keeps what the model's own tables say: leave out --data and --against")
        if look and data is None:
            raise ModelError("--check opens films: say where they are with --data DIR")
        if write:
            _write(folder, chosen, resamples)
        if data is None:
            _warn(_leaks(folder))
        scored = _scored(folder, split) if data is None else _answered(folder, data, split, chosen, look=look)
        if against is None:
            found = _evaluated(folder, scored, chosen, resamples, kept=data is None)
            _say(found.to_json() if as_json else _figures(found))
            if found.worklist is not None and found.worklist.doubt is not None and not as_json:
                _say(_states(found.worklist.doubt))
            if not as_json and (beside := reference.compare(scored, resamples=resamples)) is not None:
                _say(_beside(beside))
            return
        other = chosen.models_dir / against
        theirs = _scored(other, split) if data is None else _answered(other, data, split, chosen, look=False)
        difference = compare(scored, theirs, resamples=resamples)
        _say(difference.to_json() if as_json else _differences(difference))


def _scored(folder: Path, split: str) -> Scored:
    from cxr_core.evaluation.scored import read_scored

    return read_scored(folder, split)


def _leaks(folder: Path) -> Iterable[Problem]:
    from cxr_core.evaluation.leaks import in_tables

    return in_tables(folder)


def _warn(problems: Iterable[Problem]) -> None:
    from cxr_core.files import printable

    for each in problems:
        typer.echo(f"cxr: {each.code}: {printable(each.where)}: {printable(each.message)}", err=True)


def _write(folder: Path, chosen: Settings, resamples: int) -> None:
    from cxr_core.evaluation import keep
    from cxr_core.evaluation.report import write_all
    from cxr_core.inference.manifest import read_manifest
    from cxr_core.triage.policy import load_policy

    policy = load_policy(chosen.policy)
    with keep.aside(folder) as made, _bar("evaluate") as tell:
        write_all(made, read_manifest(made), policy, resamples=resamples, on_progress=tell)
        keep.put(made, folder)


def _evaluated(folder: Path, scored: Scored, chosen: Settings, resamples: int, *, kept: bool) -> Evaluation:
    """Return the evaluation that lies in the folder, where it is of these tables, else one made now."""
    from cxr_core.evaluation.report import evaluate, stored
    from cxr_core.triage.policy import load_policy

    policy = load_policy(chosen.policy)
    found = stored(folder, scored.split, scored) if kept else None
    same = found is not None and (found.worklist is None or found.worklist.policy == policy.version)
    if found is not None and same and found.resamples == resamples:
        return found
    with _bar("evaluate") as tell:
        return evaluate(scored, resamples=resamples, policy=policy, on_progress=tell)


def _answered(folder: Path, data: Path, split: str, chosen: Settings, *, look: bool) -> Scored:
    """Return the answers of a model on films of a data set, by the same steps as `cxr predict`.

    What it does not assess it answers too: areas need no threshold.
    """
    from dataclasses import replace

    from cxr_core.batch import analyse_files
    from cxr_core.data.readers import read
    from cxr_core.evaluation.answered import answered
    from cxr_core.evaluation.leaks import same_bytes
    from cxr_core.evaluation.site_cases import within_reach
    from cxr_core.evaluation.tables import read_labels, splits_in
    from cxr_core.pipeline import load_kit

    whole = read(data, checked=not look)
    index = whole.of(split)
    kit = load_kit(replace(chosen, models_dir=folder.parent, model=folder.name))
    asked = replace(kit, classifier=within_reach(kit.classifier))
    files = [Path(path) for path in index.table["path"]]
    answers = analyse_files(files, asked, now=datetime.now(UTC), threads=chosen.threads)
    with progress() as bar:
        results = (result for _, result in bar.track(answers, total=len(files), description="predict"))
        usual = read_labels(folder, own[0]) if (own := splits_in(folder)) else None
        found = answered(whole, split, kit.classifier.manifest, results, usual)
    if found.refused:
        typer.echo(f"cxr: {found.refused} films were refused and are left out", err=True)
    _warn(same_bytes(found.sha256))
    if look:
        _warn(_copies(whole))
    return found.scored


def _copies(whole: Index) -> Iterable[Problem]:
    from cxr_core.data.pixels import look
    from cxr_core.evaluation.leaks import in_films

    index = whole.where(whole.table["split"].isin(["val", "test"]).to_numpy())
    with progress() as bar:
        task = bar.add_task("looking for copies", total=len(index))
        return in_films(index, look(index, progress=lambda done: bar.advance(task, done)))


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """Yield what is told the share that is done."""
    with progress() as bar:
        task = bar.add_task(what, total=STEPS)
        yield lambda share: bar.update(task, completed=round(share * STEPS))


def _say(what: dict[str, Any] | Table) -> None:
    """Print JSON as one line, or a table."""
    if isinstance(what, dict):
        typer.echo(json.dumps(what, allow_nan=False, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 180
    console.print(what)


def _figures(found: Evaluation) -> Table:
    from rich.table import Column, Table

    from cxr_core.evaluation.metrics import NAIVE_AUC

    title = (
        f"{found.model} on {found.split} of {found.data}: {found.n:,} films of {found.patients:,} patients"
    )
    table = Table(Column("", no_wrap=True), "with it", *RATES, "ECE", title=title, caption=_caption(found))
    rows = dict(found.findings) | ({} if found.abnormal is None else {"abnormal": found.abnormal})
    for label, each in rows.items():
        naive = {"auc": NAIVE_AUC, "ap": each.naive_ap, "error": each.naive_error}
        rates = [_cell(getattr(each, rate), naive=naive.get(rate)) for rate in RATES]
        cells = rates if each.auc else [each.reason]
        padding = [""] * (len(RATES) - len(cells))
        calibration = "" if each.ece is None else f"{each.ece:.3f}"
        table.add_row(label.replace("_", " "), f"{each.n_pos:,} of {each.n:,}", *cells, *padding, calibration)
    table.add_section()
    macros = {"macro": found.macro, "macro with Hernia": found.macro_with_hernia}
    averages = {name: (each, found.naive_macro_ap(each)) for name, each in macros.items() if each is not None}
    for name, (average, naive_ap) in {"micro": (found.micro, found.naive_micro_ap), **averages}.items():
        areas = _cell(average.auc, naive=NAIVE_AUC), _cell(average.ap, naive=naive_ap)
        table.add_row(name, f"{len(average.findings)} findings", *areas)
    return table


def _caption(found: Evaluation) -> str:
    text = (
        f"95 % intervals: areas by bootstrap over patients ({found.resamples:,} resamples), rates by Wilson"
    )
    if found.worklist is not None:
        missed = found.worklist.report.missed
        text += f'. Diseased films called "No disease detected": {missed.count:,} of {missed.of:,}'
    return text


def _states(found: Doubt) -> Table:
    from rich.table import Table

    heads = ("", "films", "share of all", "diseased", "share of these")
    table = Table(*heads, caption=".\n".join((*found.said, "")), caption_justify="left")
    for name, each in found.rows():
        counts = f"{each.films.count:,}", f"{each.diseased.count:,} of {each.diseased.of:,}"
        risk = "not enough data" if each.risk is None else _cell(each.risk)
        table.add_row(name, counts[0], _cell(each.share), counts[1], risk)
    return table


def _beside(found: reference.Comparison) -> Table:
    from rich.table import Table

    from cxr_core.evaluation.metrics import NAIVE_AUC

    title = f"Beside the re-trained CheXNet on the same {found.films:,} films of {found.patients:,} patients"
    caption = f"{_PAIRED}. The naive model has {NAIVE_AUC:.3f} on each"
    table = Table("", "with it", "AUC", "reference", "difference", title=title, caption=caption)
    mean = {} if found.mean is None else {f"mean of {len(found.averaged)}": found.mean}
    for label, each in {**found.pairs, **mean}.items():
        cells = _cell(each.ours), _cell(each.theirs), _cell(each.difference, sign=True)
        table.add_row(label.replace("_", " "), f"{each.positives:,} of {each.films:,}", *cells)
    return table


def _differences(found: Comparison) -> Table:
    from rich.table import Table

    title = (
        f"{found.model} minus {found.against} on the same {found.n:,} films of {found.split}, {found.data}"
    )
    table = Table("", "with it", "AUC", "average precision", title=title, caption=_PAIRED)
    for label, each in found.findings.items():
        cells = (
            (_cell(each.auc, sign=True), _cell(each.ap, sign=True)) if each.auc else ("not enough data", "")
        )
        table.add_row(label.replace("_", " "), f"{each.n_pos:,} of {each.n:,}", *cells)
    if found.macro is not None:
        table.add_section()
        mean = f"{found.macro.n_pos} findings"
        table.add_row("macro", mean, _cell(found.macro.auc, sign=True), _cell(found.macro.ap, sign=True))
    return table


def _cell(value: Interval | None, *, sign: bool = False, naive: float | None = None) -> str:
    if value is None:
        return "–"
    shown = "+.3f" if sign else ".3f"
    beside = "" if naive is None else f"\nnaive {naive:.3f}"
    return f"{value.value:{shown}}\n{value.low:{shown}} to {value.high:{shown}}{beside}"
