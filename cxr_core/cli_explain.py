"""`cxr explain`: where the model looked, by several methods, and whether a map rests on what it learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_core import settings
from cxr_core.cli_models import FAILED_EXIT, REFUSED_EXIT, failures, progress
from cxr_core.errors import Invalid, StoreError

if TYPE_CHECKING:
    from cxr_core.batch import Prepare
    from cxr_core.domain import Analysis
    from cxr_core.inference.explainers_sanity import Sanity
    from cxr_core.inference.explanation import Explanation, Method
    from cxr_core.pipeline import Film, Kit
    from cxr_core.worklist.explanations import Wanted
    from cxr_core.worklist.values import FilmView

ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A method's map, how alike it is to Grad-CAM's, and how much of it random weights leave."""

    made: Explanation
    agreement: float
    sanity: Sanity | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for of each film, see `explain`."""

    methods: tuple[Method, ...]
    label: str | None
    out: Path | None
    sanity: bool
    as_json: bool


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A film whose answer is explained.

    Attributes:
        film: as the network sees it.
        kit: of the model that answers it.
        label: finding that is explained.
        file: its name, as given.
        stem: what pictures of it are called by.
        study: id, of a film of the worklist; else empty.
    """

    film: Film
    kit: Kit
    label: str
    file: str
    stem: str
    study: str = ""


def explain(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A PNG, JPEG or DICOM file.", show_default=False),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="ID", help="Not a file but a study, as `cxr worklist --json` names it."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Finding; default: the one that stands out most."),
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="M", help="grad_cam, grad_cam_plus_plus, occlusion, lime or all."),
    ] = ALL,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="ID",
            help="Model that is explained; default CXR_MODEL. Of a study always the one that answered.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write each map over the film there, as PNG.")
    ] = None,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Compare each map with those of networks of random weights.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of a table.")
    ] = False,
) -> None:
    """Show where the model looked for one finding, by several methods, each with its time.

    Of a film in a file, or of those of a study, as they hang there and by the model that answered them; that
    needs the role of a clinician and stands in the audit trail. With --sanity a map must change when the
    network's weights are random; one that stays shows the film, not what the model learned. Exit status: 0;
    1 if a map did not change; 3, whatever the maps, if a film was refused or could not be explained.
    """
    with failures():
        asked = Asked(_methods(method), label, out, sanity, as_json)
        if path is not None and study is None:
            changed, left_out = _explain_file(path, model, asked)
        elif study is not None and path is None:
            if model is not None:
                raise Invalid("a study is explained by the model that answered it: leave --model out")
            changed, left_out = _explain_study(study, asked)
        else:
            raise Invalid("name one film's FILE, or a study by --study ID")
    if left_out or not changed:
        raise typer.Exit(REFUSED_EXIT if left_out else FAILED_EXIT)


def _explain_file(path: Path, model: str | None, asked: Asked) -> tuple[bool, int]:
    """Explain the answer to a file; return whether the maps changed that were checked, and if it was refused.

    Raises:
        CxrError: there is no such file, finding or model.
    """
    from datetime import UTC, datetime

    from cxr_core.batch import prepare_file
    from cxr_core.cli_decode import apart
    from cxr_core.pipeline import Film, answer

    if not path.is_file():
        raise StoreError(f"{path}: cannot be read (no such file)")
    kit = _kit(model)
    with apart(settings.load(), pictures=True) as prepare:
        film = prepare_file(path, kit, datetime.now(UTC), prepare)
    (analysis,) = answer([film], kit)
    if analysis.refusal is not None or not isinstance(film, Film):
        _say(f"{path.name} {_refusal(analysis)}")
        return True, 1
    subject = Subject(film, kit, asked.label or _foremost(analysis), path.name, path.stem)
    rows = _rows(subject, asked)
    _show(rows, subject, asked)
    return _changed(rows), 0


def _explain_study(study_id: str, asked: Asked) -> tuple[bool, int]:
    """Explain each answered film of a study as it hangs there; return as above, and how many were left out.

    Raises:
        CxrError: there is no such study, the role may not, or the worklist is busy.
    """
    from functools import cache

    from cxr_core.access import Action
    from cxr_core.cli_decode import apart
    from cxr_core.cli_service import opened
    from cxr_core.errors import Busy, Conflict, ModelError

    kit_of = cache(_kit)
    changed, left_out = True, 0
    with opened() as (service, actor), apart(service.settings, pictures=True) as prepare:
        service.check(actor, Action.EXPLAIN)
        for view in service.study(actor, study_id).films:
            try:
                label = asked.label or _foremost(_answer_of(view))
                wanted = service.to_explain(actor, view.sha256, label, asked.methods)
                kit = kit_of(wanted[0].model_id)
                raw = service.film_bytes(actor, view.sha256, audited=False)
                film = _prepared(raw, kit, wanted[0], prepare)
                subject = Subject(film, kit, label, view.file, study_id, study_id)
                rows = _rows(subject, asked)
                service.note_explained(actor, wanted)
                if asked.out is not None:
                    service.note_download(actor, view.sha256, "png")
                _show(rows, subject, asked)
            except Busy:
                raise
            except (Conflict, Invalid, ModelError, StoreError) as error:
                _say(f"{view.file}: {error}")
                left_out += 1
            else:
                changed &= _changed(rows)
    return changed, left_out


def _answer_of(view: FilmView) -> Analysis:
    """Return what was said of a film as it hangs now.

    Raises:
        Conflict: nothing was, or it was refused, or the answer is of the film as it hung before.
    """
    from cxr_core.errors import Conflict

    if view.notice is not None:
        raise Conflict(view.notice.message)
    if view.analysis is None:
        raise Conflict("it waits for its answer")
    if view.corrects:
        raise Conflict("it waits for its answer as it hangs now")
    if view.analysis.refusal is not None:
        raise Conflict(_refusal(view.analysis))
    if not view.analysis.predictions and view.analysis.abnormal is None:
        raise Conflict("the model assessed nothing on it")
    return view.analysis


def _prepared(raw: bytes, kit: Kit, wanted: Wanted, prepare: Prepare) -> Film:
    """Return a film as it hung when it was answered.

    Raises:
        Conflict: it is refused now.
    """
    from datetime import UTC, datetime

    from cxr_core.errors import Conflict
    from cxr_core.pipeline import Film

    film = prepare(raw, kit, now=datetime.now(UTC), correction=wanted.correction)
    if not isinstance(film, Film):
        raise Conflict(_refusal(film))
    return film


def _refusal(analysis: Analysis) -> str:
    return f"was refused: {analysis.refusal.message if analysis.refusal else ''}"


def _say(why: str) -> None:
    from cxr_core.files import printable

    typer.echo(f"cxr: {printable(why)}", err=True)


def _methods(name: str) -> tuple[Method, ...]:
    """Return the methods that a word names.

    Raises:
        Invalid: none.
    """
    from cxr_core.inference.explanation import Method

    if name == ALL:
        return tuple(Method)
    if name not in [each.value for each in Method]:
        raise Invalid(f"unknown method {name!r}; known: {', '.join(Method)}, {ALL}")
    return (Method(name),)


def _kit(model: str | None) -> Kit:
    from dataclasses import replace

    from cxr_core.pipeline import load_kit

    chosen = settings.load()
    return load_kit(replace(chosen, model=model) if model else chosen)


def _foremost(analysis: Analysis) -> str:
    """Return the label that is furthest above its threshold, or least below it."""
    both = (*analysis.predictions, *((analysis.abnormal,) if analysis.abnormal else ()))
    if not both:
        raise Invalid(f"{analysis.versions.model} assesses nothing by itself; name a --label")
    return max(analysis.predictions or both, key=lambda each: each.probability / each.threshold).label


def _rows(subject: Subject, asked: Asked) -> list[Row]:
    """Return what each method says; Grad-CAM is made in any case, to be compared with."""
    from cxr_core.inference import explainers, explainers_sanity
    from cxr_core.inference.explanation import Method

    classifier, array, label = subject.kit.classifier, subject.film.array, subject.label
    folder = settings.load().models_dir / classifier.manifest.id
    reference = explainers.explained(classifier, array, label, Method.GRAD_CAM)
    rows = []
    with progress() as bar:
        task = bar.add_task("explain", total=len(asked.methods))
        for method in asked.methods:
            made = explainers.explained(classifier, array, label, method)
            agreement = explainers_sanity.correlation(
                explainers_sanity.drawn(reference.heatmap), explainers_sanity.drawn(made.heatmap)
            )
            checked = explainers_sanity.check(classifier, folder, array, made) if asked.sanity else None
            rows.append(Row(made, agreement, checked))
            bar.advance(task)
    return rows


def _changed(rows: Sequence[Row]) -> bool:
    """Return whether random weights changed every map that was held against them."""
    return all(row.sanity is None or row.sanity.changed for row in rows)


def _show(rows: list[Row], subject: Subject, asked: Asked) -> None:
    """Write the maps of a film where pictures are asked for, and say what was found."""
    if asked.out is not None:
        _write(rows, subject, asked.out)
    if asked.as_json:
        for row in rows:
            typer.echo(json.dumps(_record(row, subject), allow_nan=False))
    else:
        _print(rows, subject)


def _record(row: Row, subject: Subject) -> dict[str, Any]:
    from cxr_core.imaging.overlay import peak_of
    from cxr_core.inference.explain import NoRegion
    from cxr_core.reports.regions import region_of

    made, region = row.made, region_of(row.made.heatmap)
    record: dict[str, Any] = {"study": subject.study} if subject.study else {}
    record |= {
        "file": subject.file,
        "model": subject.kit.versions.model,
        "label": made.label,
        "method": made.method.value,
        "ms": round(made.ms, 1),
        "films": made.films,
        "map": list(made.heatmap.shape),
        "agreement_with_grad_cam": round(row.agreement, 3),
    }
    if isinstance(region, NoRegion):
        record["no_region"] = region.value
    else:
        record["peak"] = [round(each, 3) for each in peak_of(region)]
    if row.sanity is not None:
        record["sanity"] = {
            "rank_correlation": round(row.sanity.correlation, 3),
            "ssim": round(row.sanity.similarity, 3),
            "random_networks": row.sanity.networks,
            "changed": row.sanity.changed,
        }
    return record


def _write(rows: list[Row], subject: Subject, out: Path) -> None:
    """Write each map over the film; a map without region is the film alone."""
    from cxr_core.imaging.overlay import blend, grey, png
    from cxr_core.inference.explain import NoRegion
    from cxr_core.reports.regions import region_of

    radiograph = subject.film.radiograph
    picture = grey(radiograph.pixels, 1024)
    for row in rows:
        region = region_of(row.made.heatmap)
        shown = picture if isinstance(region, NoRegion) else blend(picture, region, 0.6)
        name = f"{subject.stem}-{radiograph.sha256[:8]}-{row.made.label}-{row.made.method}.png"
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(png(shown))
        except OSError as exc:
            raise StoreError(f"{out}: cannot be written to ({exc.strerror})") from exc


def _print(rows: list[Row], subject: Subject) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from cxr_core.files import printable
    from cxr_core.inference.explanation import NAMES

    right = [Column(name, justify="right") for name in ("time", "films", "peak at x, y", "like Grad-CAM")]
    asked = any(row.sanity is not None for row in rows)
    last = ["random weights"] if asked else []
    film = f"{printable(subject.file)}: " if subject.study else ""
    title = Text(f"{film}{subject.label}, {subject.kit.versions.model}")
    table = Table("method", *right, *last, title=title, title_justify="left")
    for row in rows:
        record = _record(row, subject)
        peak = "{:.2f}, {:.2f}".format(*record["peak"]) if "peak" in record else "no region"
        seconds = f"{row.made.ms / 1e3:.2f} s"
        cells = (NAMES[row.made.method], seconds, str(row.made.films), peak, f"{row.agreement:.2f}")
        table.add_row(*cells, *([_verdict(row)] if asked else []))
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)


def _verdict(row: Row) -> str:
    if row.sanity is None:
        return "nothing to compare"
    said = "changes" if row.sanity.changed else "DOES NOT CHANGE"
    return f"{said}: rank correlation {row.sanity.correlation:.2f}, SSIM {row.sanity.similarity:.2f}"
