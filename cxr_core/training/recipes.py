"""A training recipe: one TOML file that says everything a run needs beside the films."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from cxr_core.data.films import Films as Films
from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import RecipeError
from cxr_core.imaging.preprocess import Recipe as Preprocessing
from cxr_core.inference.heads import Pooling
from cxr_core.inference.manifest import Task
from cxr_core.strict import build

FOLDS = 4
COPY = "recipe.toml"
"""Name of the recipe's copy in its run folder, whose name is then the recipe's."""
FILMS = "films.sha256"
"""Beside it: of which films, labels and splits the run learns."""


class Output(StrEnum):
    """What makes probabilities of logits."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


class Architecture(StrEnum):
    """The networks of `networks.build`."""

    SIMPLE_CNN = "simple_cnn"
    SMALL_CNN = "small_cnn"
    RESNET18_PREACT = "resnet18_preact"
    RESNET50 = "resnet50"
    DENSENET121 = "densenet121"
    EFFICIENTNET_B0 = "efficientnet_b0"
    VIT = "vit"
    MOBILENET_V2_GREY = "mobilenet_v2_grey"


class Optimiser(StrEnum):
    """Torch's optimisers of the same names."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class Schedule(StrEnum):
    """How the learning rate goes through a phase."""

    CONSTANT = "constant"
    PLATEAU = "plateau"
    COSINE = "cosine"
    ONE_CYCLE = "one_cycle"


class Loss(StrEnum):
    """The losses of `losses.loss_of`, and that of `unlabelled`, which asks no labels."""

    BCE = "bce"
    WEIGHTED_BCE = "weighted_bce"
    FOCAL = "focal"
    CROSS_ENTROPY = "cross_entropy"
    WEIGHTED_CROSS_ENTROPY = "weighted_cross_entropy"
    VICREG = "vicreg"


class Sampler(StrEnum):
    """In which order an epoch meets the films."""

    SHUFFLED = "shuffled"
    WEIGHTED = "weighted"


class Keep(StrEnum):
    """Which epoch's network a run hands on."""

    LAST = "last"
    BEST = "best"


class Judge(StrEnum):
    """The figure on val by which epochs are compared."""

    MEAN_AUC = "mean_auc"
    AUC = "auc"
    RECALL_PRECISION = "recall_precision"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Network:
    """What is trained.

    Attributes:
        architecture: family.
        dropout: share of pooled (or hidden) values left out while training.
        pooling: over the last feature maps.
        hidden: width of a ReLU layer before the last; 0: none.
        start: "": random; "imagenet": the MobileNetV2 file of `pretrained/`; "init": a file given
            with --init, without which it does not run; else the name of a run in the same folder.
        mirrored: in use the maps are the mean of the film's and, mirrored back, of its mirror image's.
    """

    architecture: Architecture
    dropout: float = 0.0
    pooling: Pooling = Pooling.MEAN
    hidden: int = 0
    start: str = ""
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with its own optimiser and schedule.

    Attributes:
        epochs: passes over the films.
        rate: learning rate, the highest of the schedule.
        frozen: first parts of the names of parameters that stay as they are; "all_but_head".
    """

    epochs: int
    rate: float
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """How it is trained.

    Attributes:
        phases: one after the other.
        batch: films a step, on each device.
        optimiser, weight_decay: no decay on norms and biases.
        schedule: within each phase.
        warm_up: share of a phase in which one_cycle rises.
        loss, focal_gamma, label_smoothing: see `losses`; weighted: by the films at hand.
        sampler: weighted: each film as often as its rarest label asks.
        copies_of_rare: extra augmented copies of each film with a label that fewer than `rare_below` have.
        running_mean: of the weights, this share of the old kept each step; 0: none.
        teacher: name of a run whose answers soften the truth, see `teaching`; "": none.
        taught: share of the teacher's probability in what is learned, the rest is the truth.
        keep: network of the last epoch, or of the best on val.
        judged_by: what best means; recall_precision is their harmonic mean at 0.5.
    """

    phases: tuple[Phase, ...]
    batch: int = 32
    optimiser: Optimiser = Optimiser.ADAMW
    weight_decay: float = 0.02
    schedule: Schedule = Schedule.ONE_CYCLE
    warm_up: float = 0.2
    loss: Loss = Loss.BCE
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    sampler: Sampler = Sampler.SHUFFLED
    copies_of_rare: int = 0
    rare_below: int = 0
    running_mean: float = 0.0
    teacher: str = ""
    taught: float = 0.5
    keep: Keep = Keep.LAST
    judged_by: Judge = Judge.MEAN_AUC

    @property
    def epochs(self) -> int:
        """Of all phases."""
        return sum(phase.epochs for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Changes a film can undergo without changing its labels; each number is the half width.

    Never a vertical flip, never a crop: a film keeps its sides and its borders.

    Attributes:
        rotation_deg: degrees.
        shift: share of the side.
        scale: share.
        brightness: grey values in [-1, 1].
        contrast: share.
        gamma: of its logarithm.
        noise: standard deviation of grey values.
        mirror: half of the films are mirrored; only where no label names a side.
        blurred_share: of the films above 64 pixels, brought to 64 and back.
    """

    rotation_deg: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    mirror: bool = False
    blurred_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Member:
    """One network; `fold` is the part of train it never sees, -1: it sees all.

    Where some see all, those are served, and the others only answer their fold for calibration. `epochs` is
    its own number of them, where the recipe has one phase; 0: as the phase says.
    """

    seed: int
    fold: int = -1
    epochs: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """What only people can say of a model.

    Attributes:
        summary, intended, avoid, limits: see docs/training.md.
        budget: where training was cut short.
        made: how networks came to be that were not trained quite by this recipe.
    """

    summary: str
    intended: str
    avoid: str
    limits: str = ""
    budget: str = ""
    made: str = ""


@dataclass(frozen=True, slots=True)
class Adapted:
    """With which options of `cxr train` a run's copy was made of a recipe; in no file of `recipes/`.

    Attributes:
        of: name of that recipe; empty: it was followed as it is.
        label: of --label.
        epochs: of --epochs; 0: not given.
        init: of --init, in the words of the members' runs; in the copy of a model folder alone.
    """

    of: str = ""
    label: str = ""
    epochs: int = 0
    init: str = ""


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """One file of `recipes/`.

    Attributes:
        name: the file's, and of the run folder and the model.
        title: for people.
        task, labels, output: binary has one label; its softmax has two logits, without and with it.
        preprocessing: the table that serving follows too.
        films, network, fit, augmentation, members: see there.
        card: for the model card.
        blind: labels whose head is made blind to the films' source when exported.
        adapted: written into the run's copy.
    """

    name: str
    title: str
    task: Task
    labels: tuple[str, ...]
    output: Output
    preprocessing: Preprocessing
    network: Network
    fit: Fit
    card: Card
    films: Films = Films()
    augmentation: Augmentation = Augmentation()
    members: tuple[Member, ...] = (Member(seed=0),)
    blind: tuple[str, ...] = ()
    adapted: Adapted = Adapted()

    @property
    def command(self) -> str:
        """The command that trains it."""
        label = f" --label {self.adapted.label}" if self.adapted.label else ""
        epochs = f" --epochs {self.adapted.epochs}" if self.adapted.epochs else ""
        init = " --init FILE" if self.adapted.init else ""
        return f"cxr train recipes/{self.adapted.of or self.name}.toml{label}{epochs}{init}"

    @property
    def not_for_export(self) -> str:
        """Why a run of it can be judged but never become a model folder; empty where it can."""
        if self.fit.loss is Loss.VICREG:
            return "learns without labels: a start for other runs, which cannot be exported"
        if own := [label for label in self.labels if label not in (*FINDINGS, ABNORMAL)]:
            return (
                f"{', '.join(own)}: no label of the product, which knows the 14 findings of ChestX-ray14 and "
                "abnormal. A run can learn it and be judged by it, but cannot be exported"
            )
        if self.task is Task.MULTICLASS and ABNORMAL in self.labels:
            return "abnormal is no finding beside others: a multiclass run with it cannot be exported"
        return ""

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return 2 if self.task is Task.BINARY and self.output is Output.SOFTMAX else len(self.labels)

    def epochs_of(self, number: int) -> int:
        """Return how many epochs a member learns for."""
        return self.members[number].epochs or self.fit.epochs

    def of_member(self, number: int) -> TrainingRecipe:
        """Return the recipe as a member follows it, with its own number of epochs."""
        if not self.members[number].epochs:
            return self
        (phase,) = self.fit.phases
        phases = (replace(phase, epochs=self.members[number].epochs),)
        return replace(self, fit=replace(self.fit, phases=phases))

    @property
    def served(self) -> tuple[int, ...]:
        """Numbers of the members that answer in use: those that see all of train, else all."""
        whole = tuple(k for k, member in enumerate(self.members) if member.fold < 0)
        return whole or tuple(range(len(self.members)))


def read_recipe(path: Path) -> TrainingRecipe:
    """Return the recipe of a TOML file.

    Args:
        path: `NAME.toml`, or the copy `NAME/recipe.toml` in a run folder.

    Raises:
        RecipeError: it cannot be read, a key is unknown or missing, or two values contradict each other.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{path.name}: cannot be read") from exc
    recipe = parse_recipe(text, path.name)
    expected = path.resolve().parent.name if path.name == COPY else path.stem
    if recipe.name != expected:
        raise RecipeError(f"{path.name}: name is {recipe.name!r}, expected {expected!r}")
    return recipe


def parse_recipe(text: str, where: str) -> TrainingRecipe:
    """Return the recipe of a TOML text; `where` begins the message of a RecipeError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{where}: is no TOML ({exc})") from exc
    recipe = build(TrainingRecipe, table, where, RecipeError)
    for wrong, message in _contradictions(recipe):
        if wrong:
            raise RecipeError(f"{where}: {message}")
    return recipe


def _contradictions(recipe: TrainingRecipe) -> list[tuple[bool, str]]:
    fit, network, films, augment = recipe.fit, recipe.network, recipe.films, recipe.augmentation
    entropy = fit.loss in (Loss.CROSS_ENTROPY, Loss.WEIGHTED_CROSS_ENTROPY)
    half_widths = [augment.rotation_deg, augment.shift, augment.scale, augment.brightness]
    half_widths += [augment.contrast, augment.gamma, augment.noise]
    seeds = [member.seed for member in recipe.members]
    counts = fit.sampler is Sampler.WEIGHTED or fit.copies_of_rare > 0
    blindly = fit.loss is Loss.VICREG
    idle = fit.running_mean or fit.label_smoothing or network.hidden
    idle = idle or any("all_but_head" in phase.frozen for phase in fit.phases)
    twice = fit.sampler is Sampler.WEIGHTED and fit.loss in (Loss.WEIGHTED_BCE, Loss.WEIGHTED_CROSS_ENTROPY)
    hard = bool(fit.teacher) and (fit.loss is not Loss.BCE or counts)
    own_epochs = any(member.epochs for member in recipe.members)
    return [
        (not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", recipe.name), "name: small letters, digits, _ and - only"),
        (not recipe.labels or len(set(recipe.labels)) < len(recipe.labels), "labels: one or more, distinct"),
        (recipe.task is Task.BINARY and len(recipe.labels) != 1, "binary: labels holds the one finding"),
        (recipe.task is Task.MULTICLASS and len(recipe.labels) < 2, "multiclass: two labels or more"),
        (recipe.task is Task.MULTICLASS and recipe.output is not Output.SOFTMAX, "multiclass: softmax"),
        (recipe.task is Task.MULTILABEL and recipe.output is not Output.SIGMOID, "multilabel: sigmoid"),
        (entropy != (recipe.output is Output.SOFTMAX), f"the loss {fit.loss} does not fit {recipe.output}"),
        (not fit.phases, "fit.phases: at least one"),
        (any(p.epochs < 1 or not 0 < p.rate <= 10 for p in fit.phases), "fit.phases: epochs >= 1, rate > 0"),
        (fit.batch < 2, "fit.batch: 2 or more"),
        (not 0 < fit.warm_up < 1, "fit.warm_up: between 0 and 1"),
        (not 0 <= fit.label_smoothing < 1, "fit.label_smoothing: from 0 to below 1"),
        (not 0 <= fit.running_mean < 1, "fit.running_mean: from 0 to below 1"),
        (not 0 < fit.taught < 1, "fit.taught: between 0 and 1"),
        (hard, "fit.teacher: softens labels, so bce, and neither weighted sampler nor copies_of_rare"),
        (twice, f"weighted sampler under {fit.loss}: it would make up for rarity twice"),
        (fit.weight_decay < 0 or fit.focal_gamma < 0, "fit: weight_decay and focal_gamma not below 0"),
        (min(fit.copies_of_rare, fit.rare_below) < 0, "fit: copies_of_rare and rare_below not below 0"),
        (blindly and fit.judged_by is not Judge.LOSS, "vicreg: judged_by loss, it asks no labels"),
        (blindly and bool(counts or fit.teacher), "vicreg: no sampler, copies or teacher, it asks no labels"),
        (blindly and bool(idle), "vicreg: no running_mean, label_smoothing, hidden layer or all_but_head"),
        (fit.judged_by is Judge.AUC and recipe.task is not Task.BINARY, "judged_by auc: binary only"),
        (not 0 <= network.dropout < 1, "network.dropout: from 0 to below 1"),
        (network.hidden < 0, "network.hidden: not below 0"),
        (not recipe.members or len(set(seeds)) < len(seeds), "members: one or more, of distinct seeds"),
        (any(member.epochs < 0 for member in recipe.members), "members.epochs: not below 0"),
        (own_epochs and len(fit.phases) != 1, "members.epochs: only where there is one of fit.phases"),
        (any(not -1 <= member.fold < FOLDS for member in recipe.members), f"members.fold: -1 to {FOLDS - 1}"),
        (min(half_widths) < 0, "augmentation: no number below 0"),
        (max(augment.shift, augment.scale, augment.contrast) >= 1, "augmentation: shares below 1"),
        (not 0 <= augment.blurred_share <= 1, "augmentation.blurred_share: from 0 to 1"),
        (bool({*recipe.blind, *films.known_within} - {*recipe.labels}), "blind and known_within: of labels"),
        (
            bool({*recipe.blind} - {*films.known_within}),
            "blind: only labels that known_within has a source of",
        ),
        (films.negatives_per_positive < 0 or films.most < 0, "films: no number below 0"),
        (recipe.preprocessing.network_px < 16, "preprocessing.network_px: 16 or more"),
    ]
