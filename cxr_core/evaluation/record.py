"""What was measured of a model on one split, and the JSON that says it: docs/evaluation.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import Any

from cxr_core.domain import ABNORMAL, State, Urgency
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.doubt import Caught, Doubt, Held
from cxr_core.evaluation.metrics import naive_ap
from cxr_core.triage.budget import Rate, Report

SCHEMA = 2
"""Raised where a key changes its meaning or goes. 2: limits of rates are Wilson's."""
FEW = "not enough data"
NO_THRESHOLD = "no threshold: not assessed"
DIGITS = 9


@dataclass(frozen=True, slots=True)
class Finding:
    """One label on the films where it is known; None where it cannot be said, and then `reason` says why.

    Attributes:
        n, n_pos: films, and films with it.
        threshold: on the probability; None where it cannot be reached.
        auc, ap: areas under the ROC and the precision-recall curve.
        sensitivity, specificity, ppv, npv, error, f1: at the threshold.
        naive_error: of saying of every film what most films of val are.
        ece, brier: calibration, see `metrics`.
        seed_spread, flip_rate: how far the members lie apart; None of a single member.
        reason: "", `FEW`, or `NO_THRESHOLD`.
    """

    n: int
    n_pos: int
    threshold: float | None = None
    auc: Interval | None = None
    ap: Interval | None = None
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    ppv: Interval | None = None
    npv: Interval | None = None
    error: Interval | None = None
    f1: Interval | None = None
    naive_error: float | None = None
    ece: float | None = None
    brier: float | None = None
    seed_spread: float | None = None
    flip_rate: float | None = None
    reason: str = ""

    @property
    def naive_ap(self) -> float:
        """Average precision of saying the same of every film; NaN of no films."""
        return naive_ap(self.n, self.n_pos)


@dataclass(frozen=True, slots=True)
class Average:
    """Areas over several findings: of all their films as one (micro), or the mean of theirs (macro)."""

    auc: Interval | None
    ap: Interval | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Worklist:
    """What a policy makes of the films; `doubt` is None in what was kept before it was measured."""

    policy: str
    report: Report
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on one split.

    Attributes:
        model, data, split: see `Scored`.
        n, patients: films and patients.
        resamples: of the bootstrap behind the intervals of areas.
        findings: label → its figures, without `abnormal`.
        abnormal: the same of `abnormal`, None where the model does not answer it.
        micro: over the cells of all findings.
        macro: mean over the findings that the card averages: without Hernia, and without those that are
            known in one source only.
        macro_with_hernia: the same with Hernia, None where the model has no such finding, or too few films.
        top: of a multiclass model, films whose label has the largest probability.
        worklist: of a multilabel model, where a policy was given.
        risk_coverage: (coverage, risk, doubt) among films without a positive finding, see `report`.
        tables: kind → SHA-256 of the tables that were measured.
    """

    model: str
    data: str
    split: str
    n: int
    patients: int
    resamples: int
    findings: dict[str, Finding]
    abnormal: Finding | None
    micro: Average
    macro: Average
    macro_with_hernia: Average | None
    top: Interval | None = None
    worklist: Worklist | None = None
    risk_coverage: tuple[tuple[float, float, float], ...] = ()
    tables: dict[str, str] = field(default_factory=dict)

    @property
    def naive_micro_ap(self) -> float:
        """Average precision of saying the same of every cell that `micro` is over."""
        each = [self.of(label) for label in self.micro.findings]
        return naive_ap(sum(one.n for one in each), sum(one.n_pos for one in each))

    def naive_macro_ap(self, average: Average) -> float:
        """Return the mean of `Finding.naive_ap` over the findings of a mean."""
        return fmean(self.of(label).naive_ap for label in average.findings)

    def of(self, label: str) -> Finding:
        """Return the figures of a label, `abnormal` too; KeyError if the model does not answer it."""
        if label == ABNORMAL and self.abnormal is not None:
            return self.abnormal
        return self.findings[label]

    def to_json(self) -> dict[str, Any]:
        """Return what docs/evaluation.md describes; no NaN stands in it."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data,
            "split": self.split,
            "n": self.n,
            "patients": self.patients,
            "resamples": self.resamples,
            "findings": {label: _finding(each) for label, each in self.findings.items()},
            "abnormal": None if self.abnormal is None else _finding(self.abnormal),
            "micro": _average(self.micro),
            "macro": _average(self.macro),
            "macro_with_hernia": None if self.macro_with_hernia is None else _average(self.macro_with_hernia),
            "top": _plain(self.top),
            "worklist": None if self.worklist is None else _worklist(self.worklist),
            "risk_coverage": [[_rounded(value) for value in point] for point in self.risk_coverage],
            "tables": dict(self.tables),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Evaluation:
        """Return what `to_json` wrote.

        Raises:
            ValueError: of another schema.
            KeyError, TypeError: not such a record.
        """
        if record["schema"] != SCHEMA:
            raise ValueError(f"expected an evaluation of schema {SCHEMA}, got {record['schema']!r}")
        abnormal, hernia, worklist = record["abnormal"], record["macro_with_hernia"], record["worklist"]
        return cls(
            model=record["model"],
            data=record["data"],
            split=record["split"],
            n=record["n"],
            patients=record["patients"],
            resamples=record["resamples"],
            findings={label: _read_finding(each) for label, each in record["findings"].items()},
            abnormal=None if abnormal is None else _read_finding(abnormal),
            micro=_read_average(record["micro"]),
            macro=_read_average(record["macro"]),
            macro_with_hernia=None if hernia is None else _read_average(hernia),
            top=_read(record["top"]),
            worklist=None if worklist is None else _read_worklist(worklist),
            risk_coverage=tuple((x, y, at) for x, y, at in record["risk_coverage"]),
            tables=dict(record["tables"]),
        )


def said(value: Interval) -> Interval | None:
    """Return an interval, or None where it could not be computed."""
    return None if math.isnan(value.value) else value


def _finding(finding: Finding) -> dict[str, Any]:
    return {each.name: _plain(getattr(finding, each.name)) for each in fields(Finding)}


def _average(average: Average) -> dict[str, Any]:
    return {
        "auc": _plain(average.auc),
        "ap": _plain(average.ap),
        "findings": list(average.findings),
    }


def _worklist(worklist: Worklist) -> dict[str, Any]:
    record: dict[str, Any] = {"policy": worklist.policy}
    for each in fields(Report):
        value = getattr(worklist.report, each.name)
        if isinstance(value, dict):
            record[each.name] = {str(key): [rate.count, rate.of] for key, rate in value.items()}
        else:
            record[each.name] = [value.count, value.of] if isinstance(value, Rate) else value
    return record | {"doubt": None if worklist.doubt is None else _doubt(worklist.doubt)}


def _doubt(doubt: Doubt) -> dict[str, Any]:
    return {
        "states": {name: _flat(each) for name, each in doubt.states.items()},
        "reasons": {name: _flat(each) for name, each in doubt.reasons.items()},
        "caught": _flat(doubt.caught),
        "nearest": _flat(doubt.nearest),
    }


def _flat(part: Held | Caught) -> dict[str, Any]:
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    return {k: [v.count, v.of] if isinstance(v, Rate) else _plain(v) for k, v in values.items()}


def _plain(value: Interval | float | int | str | None) -> Any:  # noqa: ANN401 -- what JSON can hold
    if isinstance(value, Interval):
        return [_rounded(value.value), _rounded(value.low), _rounded(value.high)]
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def _read(value: list[float] | None) -> Interval | None:
    return None if value is None else Interval(*value)


def _read_finding(record: Mapping[str, Any]) -> Finding:
    values: dict[str, Any] = {k: Interval(*v) if isinstance(v, list) else v for k, v in record.items()}
    return Finding(**values)


def _read_average(record: Mapping[str, Any]) -> Average:
    return Average(_read(record["auc"]), _read(record["ap"]), tuple(record["findings"]))


def _read_worklist(record: Mapping[str, Any]) -> Worklist:
    def rates(name: str, kind: type[str] = str) -> dict[Any, Rate]:
        return {kind(key): Rate(*value) for key, value in record[name].items()}

    report = Report(
        films=record["films"],
        urgency=rates("urgency", Urgency),
        state=rates("state", State),
        lifted=Rate(*record["lifted"]),
        critical=Rate(*record["critical"]),
        sensitivity=rates("sensitivity"),
        missed=Rate(*record["missed"]),
        missed_by_finding=rates("missed_by_finding"),
    )
    doubt = record.get("doubt")
    return Worklist(record["policy"], report, None if doubt is None else _read_doubt(doubt))


def _read_doubt(record: Mapping[str, Any]) -> Doubt:
    def held(name: str) -> dict[str, Held]:
        return {
            key: Held(
                Rate(*each["films"]), _read(each["share"]), Rate(*each["diseased"]), _read(each["risk"])
            )
            for key, each in record[name].items()
        }

    def caught(its: Mapping[str, Any]) -> Caught:
        return Caught(Rate(*its["films"]), Rate(*its["errors"]), _read(its["share"]), _read(its["gain"]))

    return Doubt(held("states"), held("reasons"), caught(record["caught"]), caught(record["nearest"]))
