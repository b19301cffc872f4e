"""Can the pipeline learn at all? A few films by heart, or a sentence that says what is broken."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import StochasticDepth

from cxr_core.training.losses import LossFunction, loss_of
from cxr_core.training.module import freeze, optimiser_of
from cxr_core.training.networks import Classifier, build
from cxr_core.training.recipes import Optimiser, Phase, TrainingRecipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import Places, begin

ENOUGH = 0.01
STEPS = 400
RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether some films could be learned by heart, and in one sentence why not."""

    learned: bool
    loss: float
    steps: int
    sentence: str


def learn_by_heart(recipe: TrainingRecipe, some: FilmSet, places: Places) -> Verdict:
    """Return whether the recipe's network, at its start, learns these films by heart."""
    torch.manual_seed(recipe.members[0].seed)
    network = build(recipe.network, recipe.outputs)
    begin(recipe, network, places, some.inputs(np.arange(len(some))))
    return overfit(recipe, network, some)


def overfit(recipe: TrainingRecipe, network: Classifier, films: FilmSet, steps: int = STEPS) -> Verdict:
    """Return whether the network learns the films by heart, without augmentation, dropout or decay.

    Args:
        recipe: for its loss; smoothing is left out, since it keeps the loss above zero.
        network: at its starting weights; it is changed.
        films: a handful, all in memory.
        steps: at most.
    """
    plain = replace(recipe.fit, label_smoothing=0.0, weight_decay=0.0, optimiser=Optimiser.ADAM)
    recipe = replace(recipe, fit=plain)
    inputs, truth = films.inputs(np.arange(len(films))), torch.from_numpy(films.truth)
    if found := wrong_with(inputs, truth):
        return Verdict(False, math.nan, 0, found)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, inputs, truth = network.to(device), inputs.to(device), truth.to(device)
    for module in network.modules():
        if isinstance(module, (torch.nn.Dropout, StochasticDepth)):
            module.p = 0.0
    freeze(network, Phase(epochs=1, rate=RATE))
    loss, begun, step = loss_of(recipe, truth.cpu()), math.nan, 0
    optimiser, now = optimiser_of(network, recipe.fit, RATE), math.nan
    network.train()
    for step in range(1, steps + 1):
        optimiser.zero_grad(set_to_none=True)
        value = loss(network(inputs), truth)
        now = float(value.detach())
        begun = now if step == 1 else begun
        if not math.isfinite(now):
            return Verdict(
                False, now, step, "the loss is no number any more: the rate is too high for this network"
            )
        if now < ENOUGH:
            return Verdict(True, now, step, f"loss {now:.3f} after {step} steps: the pipeline can learn")
        value.backward()  # type: ignore[no-untyped-call]
        if step == 1 and (found := without_gradient(network)):
            return Verdict(False, now, step, found)
        optimiser.step()
    return Verdict(False, now, step, _why(network, inputs, truth, loss, begun, now, step))


def handful(truth: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return rows of so many films of (N, L) truth: with each label in turn and without, always the same."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(column == 1) for column in truth.T]
    groups.append(np.flatnonzero(~(truth == 1).any(axis=1)))
    queues = [rng.permutation(group).tolist() for group in groups]
    picked: list[int] = []
    while len(picked) < min(count, len(truth)) and any(queues):
        for queue in queues:
            if queue and len(picked) < count and (film := queue.pop()) not in picked:
                picked.append(film)
    return np.array(picked, dtype=np.int64)


def wrong_with(inputs: Tensor, truth: Tensor) -> str:
    """Return what is wrong with films (N, 1, S, S) and truth (N, L) before any step, "" if nothing."""
    if not torch.isfinite(inputs).all():
        return "inputs hold values that are no numbers"
    known = [column[~torch.isnan(column)] for column in truth.T]
    if all(len(column) == 0 for column in known):
        return "no label of these films is known: nothing can be learned"
    if all(len(column.unique()) < 2 for column in known):
        return (
            "labels constant: every label is the same for all these films; take more, or look at the labels"
        )
    spread = inputs.flatten(1).std(dim=0).max()
    if float(spread) < 1e-6:
        return "inputs identical: all these films look the same to the network; look at decoding and cache"
    if (inputs.flatten(1).std(dim=1) < 1e-6).any():
        return "a film is blank: all of its pixels have one value"
    return ""


def without_gradient(network: Classifier) -> str:
    """Return which part of the network learns nothing after a backward pass, "" if all of it does."""
    for name, part in (("head", network.head), ("features", network.features)):
        gradients = [p.grad.abs().max() for p in part.parameters() if p.grad is not None]
        if not gradients or float(torch.stack(gradients).max()) == 0:
            return f"{name}: no gradient arrives there (dead ReLU, a frozen or unconnected part)"
    return ""


def _why(
    network: Classifier,
    inputs: Tensor,
    truth: Tensor,
    loss: LossFunction,
    begun: float,
    now: float,
    steps: int,
) -> str:
    """Return the likeliest reason why the loss stayed above zero."""
    with torch.no_grad():
        pooled = network.pooling(network.maps(inputs))
    if float(pooled.std(dim=0).max()) < 1e-6:
        return f"loss {now:.3f}: the features are the same for all films (dead ReLU): lower the rate"
    same = [
        (a, b)
        for a in range(len(inputs))
        for b in range(a)
        if torch.equal(inputs[a], inputs[b]) and not torch.equal(truth[a].nan_to_num(), truth[b].nan_to_num())
    ]
    if same:
        return f"loss {now:.3f}: {len(same)} pairs of films are identical but labelled differently"
    if now < 0.9 * begun:
        return f"loss {begun:.3f} → {now:.3f} in {steps} steps: it falls, too slowly; try fewer films"
    return f"loss {begun:.3f} → {now:.3f} in {steps} steps: it does not fall; look at the loss and the rate"
