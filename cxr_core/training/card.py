"""The model card, written from what was measured and what the recipe says (Mitchell 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.calibrate import FIXED_SPECIFICITY
from cxr_core.evaluation.measure import FEW_PATIENTS, Measured
from cxr_core.evaluation.metrics import NAIVE_AUC
from cxr_core.inference.manifest import Manifest, Task
from cxr_core.training import card_tables as tables
from cxr_core.training.recipes import Keep, Loss, Phase, Sampler, TrainingRecipe
from cxr_core.triage.budget import FEW_POSITIVES, Report

NAMES = {"val": "Val", "test": "Test"}

NOT_A_DEVICE = "**Not a medical device.** It sorts a worklist; it does not rule a disease out."

LOSSES = {
    Loss.BCE: "binary cross-entropy",
    Loss.WEIGHTED_BCE: "binary cross-entropy with rare findings weighted up",
    Loss.FOCAL: "the focal loss",
    Loss.CROSS_ENTROPY: "cross-entropy",
    Loss.WEIGHTED_CROSS_ENTROPY: "cross-entropy with rare classes weighted up",
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a card is written from.

    Attributes:
        manifest: of the model; its list of files and its evaluation figures are not read.
        recipe: by which it was trained.
        measured: by split.
        worklist: by split, what the policy makes of its films; empty for tasks that are no worklist.
        naive: by split, what it makes of them where the naive model answers.
        gain: val: mean AUC over that of another model on the same films, or None.
        outside: the section on films unlike those it has seen, see `evaluation.outside`.
    """

    manifest: Manifest
    recipe: TrainingRecipe
    measured: Mapping[str, Measured]
    worklist: Mapping[str, Report]
    naive: Mapping[str, Report]
    gain: Interval | None = None
    outside: tuple[str, ...] = ()


def write_card(content: Content) -> str:
    """Return the text of `card.md`."""
    manifest, recipe = content.manifest, content.recipe
    parts = [
        f"# {recipe.title}\n",
        f"`{manifest.id}` {manifest.version}. {recipe.card.summary.rstrip('. ')}. {NOT_A_DEVICE}\n",
        f"> **CPU budget.** {_budget(recipe.card.budget)}\n" if recipe.card.budget else "",
        f"## What it answers\n\n{_answers(manifest)}\n",
        f"## What it is for\n\n{recipe.card.intended.strip()}\n",
        f"## What it is not for\n\n{recipe.card.avoid.strip()}\n",
        f"## What it sees\n\n{_sees(manifest)}\n",
        *content.outside,
        f"## How it was made\n\n{how_made(recipe)}\n\n{_figures(manifest)}\n",
        *_blind(content),
        "## How well it does\n",
        "Intervals of 95 %: areas by bootstrap over patients, errors by Wilson on the effective number of "
        "films. The naive model says of every film what most films of "
        f"val are: its AUC is {NAIVE_AUC:g}, its average precision the share of films with the finding. "
        f"`cxr models figures {manifest.id}` prints all of this again from `evaluation/`.\n",
    ]
    for split, measured in content.measured.items():
        parts.append(f"### {NAMES[split]}: {measured.films} films of {measured.patients} patients\n")
        parts += [tables.areas(measured), tables.at_thresholds(measured), tables.means(measured)]
    if "test" not in content.measured:
        parts.append("The test list has not been looked at.\n")
    if content.gain is not None:
        parts.append(_gained(content.gain))
    parts.append("## By sex and age\n")
    for split, measured in content.measured.items():
        parts += [f"### {NAMES[split]}\n", tables.groups(measured)]
    if content.worklist:
        parts += ["## What a worklist would see\n", tables.worklist(content.worklist, content.naive)]
    parts.append(_limits(content))
    return "\n".join(part for part in parts if part)


def _budget(text: str) -> str:
    return re.sub(r"^(CPU )?budget:\s*", "", text.strip(), flags=re.IGNORECASE)


def _answers(manifest: Manifest) -> str:
    labels = ", ".join(label.replace("_", " ") for label in manifest.labels)
    lacking = [label.replace("_", " ") for label in (*FINDINGS, ABNORMAL) if label not in manifest.labels]
    text = {
        Task.BINARY: f"One question: {labels}, yes or no.",
        Task.MULTILABEL: f"Each by itself, any number of them may be present: {labels}.",
        Task.MULTICLASS: (
            f"Which one of {labels}, given that exactly one is present: the probabilities sum to 1. Of a "
            "film with none or with several findings they mean nothing. A finding is called only where its "
            "probability reaches its own threshold, never for being the largest."
        ),
    }[manifest.model.task]
    if lacking:
        text += (
            f"\n\nNot assessed: {', '.join(lacking)}. A worklist shows them as not assessed, and no film "
            'becomes "No disease detected" by this model.'
        )
    return text


def _sees(manifest: Manifest) -> str:
    recipe = manifest.recipe
    low, high = recipe.low_percentile, recipe.high_percentile
    size = f"A film of any resolution is brought to {recipe.film_px} × {recipe.film_px} pixels"
    if recipe.network_px > recipe.film_px:
        size += f" (small nodules and thin pleural lines are lost there) and enlarged to {recipe.network_px}"
    elif recipe.network_px < recipe.film_px:
        size += f" and reduced to {recipe.network_px}"
    grey = "minimum and maximum" if (low, high) == (0, 100) else f"the {low:g}th and {high:g}th percentile"
    fields = recipe.network_px // manifest.output.stride_px
    return (
        f"{size}, its grey values between {grey} go to [-1, 1]. Heatmaps have {fields} × {fields} fields. "
        "Drains, wires and devices are confounders: unmeasured."
    )


def how_made(recipe: TrainingRecipe) -> str:
    """Return the paragraph on how a model came about."""
    network, fit, augment = recipe.network, recipe.fit, recipe.augmentation
    count, sisters = len(recipe.served), len(recipe.members) - len(recipe.served)
    start = f"from {recipe.adapted.init or network.start or 'random weights'}"
    kept = "the last epoch counts" if fit.keep is Keep.LAST else f"the best epoch on val by {fit.judged_by}"
    text = [
        recipe.card.made.strip(),
        f"{count} network{'s' if count > 1 else ''} of the kind {network.architecture}, {start}; "
        f"{network.pooling} pooling"
        f"{f', a hidden layer of {network.hidden}' if network.hidden else ''}"
        f"{f', dropout {network.dropout:g}' if network.dropout else ''}. "
        f"{_epochs(recipe, recipe.served)} epochs of {LOSSES[fit.loss]} with {fit.optimiser}, {kept}.",
        "Each answers the film and its mirror image, and the mean counts." if network.mirrored else "",
        *_phases(recipe),
        *_order(recipe),
    ]
    if fit.teacher:
        text.append(
            f"{fit.taught:.0%} of what was learned of each film is the probability that networks of the run "
            f"{fit.teacher} give it, the rest the label."
        )
    if sisters:
        theirs = _epochs(recipe, [k for k in range(len(recipe.members)) if k not in recipe.served])
        one = sisters == 1
        who = "A sister that is not served" if one else f"{sisters} sisters that are not served each"
        text.append(
            f"{who} learned "
            f"{'' if theirs == _epochs(recipe, recipe.served) else f'for {theirs} epochs '}"
            "without the patients of one fold of train "
            f"(a hash of the patient number) and answer{'s' if one else ''} it for calibration."
        )
    elif recipe.members[0].fold >= 0:
        text.append(
            "Each member learned without the patients of its own fold (a hash of the patient number)."
        )
    if recipe.films.known_within:
        within = ", ".join(f"{label} within {source}" for label, source in recipe.films.known_within.items())
        text.append(f"Known, learned and scored within one source of films only: {within}.")
    turned = [
        f"turned up to {augment.rotation_deg:g}°" if augment.rotation_deg else "",
        "scaled" if augment.scale else "",
        "shifted" if augment.shift else "",
        "mirrored (it names no side)" if augment.mirror else "",
        "re-exposed" if augment.brightness or augment.contrast or augment.gamma else "",
        "given noise" if augment.noise else "",
        "some blurred to 64 pixels, so that resolution tells nothing" if augment.blurred_share else "",
    ]
    changed = ", ".join(filter(None, turned))
    text.append(f"Films are {changed}, at random." if changed else "Films are shown as they are.")
    if recipe.outputs > len(recipe.labels):
        text.append("Its softmax over two classes is kept as one logit, their difference.")
    text.append(
        f"`{recipe.command}` and `cxr export {recipe.name} --version VERSION` make it again; the recipe lies "
        "in this folder."
    )
    return " ".join(filter(None, text))


def _phases(recipe: TrainingRecipe) -> list[str]:
    """Return which part of the network learns when, where that is not all of it throughout."""
    phases = recipe.fit.phases
    if not any(phase.frozen for phase in phases):
        return []
    said = [
        f"{each.epochs} epoch{'s' if each.epochs > 1 else ''} with {_stays(each)} at a rate of {each.rate:g}"
        for each in phases
    ]
    return [f"In {len(phases)} phases: {', then '.join(said)}." if len(phases) > 1 else f"{said[0]}."]


def _stays(phase: Phase) -> str:
    if not phase.frozen:
        return "nothing frozen"
    if "all_but_head" in phase.frozen:
        return "all but the head frozen"
    return f"{', '.join(phase.frozen)} frozen"


def _order(recipe: TrainingRecipe) -> list[str]:
    """Return which films an epoch meets, where that is not each film of train once."""
    fit, ratio = recipe.fit, recipe.films.negatives_per_positive
    text = []
    if ratio:
        text.append(
            f"For each film of train with the finding it learned from {ratio:g} without it, or from all "
            "where there are not as many."
        )
    if fit.copies_of_rare:
        text.append(
            f"A film is met {1 + fit.copies_of_rare} times an epoch where it has a label that fewer than "
            f"{fit.rare_below} films have, else once."
        )
    if fit.sampler is Sampler.WEIGHTED:
        text.append("An epoch draws each film as often as its rarest label asks.")
    return text


def _epochs(recipe: TrainingRecipe, members: Sequence[int]) -> str:
    """Return how many epochs these members learned for, as in "12" or "12 to 14"."""
    each = [recipe.epochs_of(number) for number in members]
    return f"{min(each)} to {max(each)}" if min(each) < max(each) else f"{each[0]}"


def _figures(manifest: Manifest) -> str:
    return (
        f"Calibration ({manifest.calibration.method}) was fitted on {manifest.calibration.fitted_on}. "
        f"Thresholds: {manifest.thresholds.rule}."
    )


def _blind(content: Content) -> list[str]:
    parts = []
    for label in content.recipe.blind:
        if not any(label in measured.leaks for measured in content.measured.values()):
            continue  # the data set names no sources
        leaks = [
            f"{measured.leaks[label]:.2f} on {split}"
            for split, measured in content.measured.items()
            if measured.leaks.get(label, float("nan")) == measured.leaks.get(label)
        ]
        parts.append(
            f"**{label}** is tied to the source of its films. Its head was made blind to it: the direction "
            "in which films without finding differ between the sources, view by view, was taken out. "
            "Within AP and within PA its output still tells the source of films without finding with AUC "
            f"{', '.join(leaks) or 'unknown'} (0.5: not at all; below it: that source reads lower). Where it "
            "is not given, all films of that source have the finding.\n"
        )
    return parts


def _gained(gain: Interval) -> str:
    verdict = "" if gain.low > 0 else ", so not shown to be better"
    return (
        "Against one plain run on the same val films (no ensemble, no calibration), mean AUC, patients "
        f"paired: {gain} more{verdict}.\n"
    )


def _limits(content: Content) -> str:
    manifest, recipe, data = content.manifest, content.recipe, content.manifest.data
    few = ", ".join(content.manifest.thresholds.few_positives)
    lines = [
        "Labels of public sets were mined from reports; about one in ten is wrong, more for Pneumonia."
        if "ChestX-ray14" in data.name
        else "",
        f"Findings with fewer than {FEW_POSITIVES} films of {FEW_PATIENTS} patients with, or without, them "
        'read "not enough data".',
        f"Thresholds by too few films ({FIXED_SPECIFICITY:.0%} specificity or a fixed share instead): {few}."
        if few
        else "",
        "Train and test are of one data set; what it does at another hospital was not measured.",
        *(line.strip(" -*") for line in recipe.card.limits.strip().splitlines()),
    ]
    sizes = ", ".join(f"{name} {size.films} films" for name, size in data.split.items())
    bullets = "\n".join(f"* {line}" for line in lines if line)
    about = f"{data.attribution or data.name} ({data.licence or 'no licence stated'})"
    return f"## Limits\n\n{bullets}\n\nData: {about}; {sizes}. Weights: {manifest.model.licence}.\n"
