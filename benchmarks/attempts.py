"""Members of runs on val, alone and in company, beside the model in force.

`python benchmarks/attempts.py RUN/MEMBER[+RUN/MEMBER…] …` asks finished members in `runs/` on val and prints,
for each group, the mean area of the findings that the card averages and what it gains on the model in force,
the same patients drawn for both. `served` in a group stands for that model's own members, `served/1` for the
second of them. Groups answer by the mean of their members' logits, as in use. Nothing looks at the test list.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.special import logit

from cxr_core import settings
from cxr_core.evaluation.bootstrap import Floats, areas, drawn, interval
from cxr_core.evaluation.measure import averaged
from cxr_core.evaluation.scored import Scored, read_scored
from cxr_core.inference.manifest import read_manifest
from cxr_core.training.export import chosen
from cxr_core.training.networks import build
from cxr_core.training.prepare import data_root
from cxr_core.training.progress import KEPT, read_facts
from cxr_core.training.recipes import COPY, read_recipe
from cxr_core.training.scoring import score
from cxr_core.training.served import load_weights
from cxr_core.training.starts import CACHE

RUNS = Path("runs")
SERVED = "served"


def main(groups: list[str]) -> None:
    """Print a line a group."""
    chosen_settings = settings.load()
    served = read_scored(chosen_settings.models_dir / chosen_settings.model, "val")
    own = served_logits(served, chosen_settings.models_dir / chosen_settings.model)
    known = {SERVED: own} | {f"{SERVED}/{number}": own[:, [number]] for number in range(own.shape[1])}
    for name in dict.fromkeys(name for group in groups for name in group.split("+")):
        if name not in known:
            known[name] = member_logits(name, served, data_root(chosen_settings.data or Path()))
    columns = [served.labels.index(label) for label in averaged(served.rules, served.truth)]
    again = drawn(served.patients)
    truth = served.truth[:, columns]
    base = areas(known[SERVED].mean(axis=1)[:, columns], truth, again)
    sys.stdout.write(f"| members | mean AUC of {len(columns)} on val | gain on {chosen_settings.model} |\n")
    sys.stdout.write("|---|---|---|\n")
    for group in groups:
        logits = np.concatenate([known[name] for name in group.split("+")], axis=1).mean(axis=1)
        found = areas(logits[:, columns], truth, again)
        value = np.mean([each.value for each in found.auc])
        gain = value - np.mean([each.value for each in base.auc])
        draws = (found.auc_draws - base.auc_draws).mean(axis=1)
        sys.stdout.write(f"| {group} | {value:.4f} | {interval(float(gain), draws)} |\n")


def served_logits(served: Scored, folder: Path) -> Floats:
    """Return (N, M, L) logits of the model in force, worked back from the probabilities in its tables."""
    calibration = read_manifest(folder).calibration
    odds = logit(np.clip(served.members, 1e-9, 1 - 1e-9))
    found: Floats = (odds - np.asarray(calibration.intercept)) / np.asarray(calibration.slope)
    return found


def member_logits(name: str, served: Scored, data: Path) -> Floats:
    """Return (N, 1, L) logits of `RUN/MEMBER` on the films of the model in force, in their order."""
    run, _, number = name.partition("/")
    recipe = read_recipe(RUNS / run / COPY)
    if not read_facts(RUNS / run / f"member-{number}").get("finished"):
        raise SystemExit(f"{name} has not finished; go on with cxr train")
    member = build(recipe.network, recipe.outputs)
    load_weights(member, RUNS / run / f"member-{number}" / KEPT)
    scored = score([member], recipe, chosen(data, recipe).of("val"), RUNS / CACHE, "val")
    place = {file: row for row, file in enumerate(scored.index.table["file"])}
    rows = [place[file] for file in served.table["file"]]
    return scored.logits[rows][:, :, [recipe.labels.index(label) for label in served.labels]]


if __name__ == "__main__":
    main(sys.argv[1:] or [SERVED])
