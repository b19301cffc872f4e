"""The torch definitions behind the model folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import MobileNetV2, mobilenet_v2

from cxr_core.training.architectures import features_of
from cxr_core.training.recipes import Network, Pooling

FROZEN_BLOCKS = 4
"""Stem and first three blocks stay as ImageNet left them: edges look alike on films, and they hold
almost half of a training step's time."""


class Pool(nn.Module):
    """Mean or maximum of each feature map."""

    def __init__(self, kind: Pooling) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C) of maps (N, C, h, w)."""
        return maps.amax(dim=(2, 3)) if self.kind is Pooling.MAX else maps.mean(dim=(2, 3))


class Classifier(nn.Module):
    """Feature maps, one value of each, and a head of one or two linear layers.

    Attributes:
        features: films (N, 1, S, S) → maps (N, C, h, w).
        pooling: maps → (N, C).
        head: (N, C) → logits (N, L): Linear, or Linear, ReLU, Dropout, Linear.
        stride_px: S / h.
    """

    def __init__(self, network: Network, outputs: int) -> None:
        super().__init__()
        self.features, channels, self.stride_px = features_of(network.architecture)
        self.pooling = Pool(network.pooling)
        self.dropout = nn.Dropout(0.0 if network.hidden else network.dropout)
        self.head: nn.Module = nn.Linear(network.hidden or channels, outputs)
        if network.hidden:
            wide = nn.Linear(channels, network.hidden)
            self.head = nn.Sequential(wide, nn.ReLU(), nn.Dropout(network.dropout), self.head)

    def forward(self, films: Tensor) -> Tensor:
        """Return logits (N, L) of films (N, 1, S, S)."""
        logits: Tensor = self.head(self.dropout(self.pooling(self.features(films))))
        return logits


def build(network: Network, outputs: int) -> Classifier:
    """Return the untrained network of a recipe with this number of logits."""
    return Classifier(network, outputs)


def mobilenet_v2_grey(labels: int) -> MobileNetV2:
    """Return MobileNetV2 for one grey channel whose last feature map has stride 16, not 32.

    The last stage keeps its resolution, so that a 160-pixel film gives 10 x 10 maps: heatmaps twice
    as fine for a sixth more training time. (Dilating it too, as DeepLab does, cost a third more.)
    """
    network = mobilenet_v2(num_classes=labels)
    stem = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
    network.features[0][0] = stem
    network.features[14].conv[1][0].stride = (1, 1)
    return network


class Ensemble(nn.Module):
    """Several networks answering side by side; what is exported and served."""

    def __init__(self, members: Sequence[MobileNetV2]) -> None:
        super().__init__()
        self.members: Sequence[MobileNetV2] = nn.ModuleList(members)  # type: ignore[assignment]

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, M, L) and last feature maps (N, M, C, h, w) of films (N, 1, S, S)."""
        features = [member.features(film) for member in self.members]
        logits = [
            member.classifier(maps.mean(dim=(2, 3)))
            for member, maps in zip(self.members, features, strict=True)
        ]
        return torch.stack(logits, dim=1), torch.stack(features, dim=1)


def load_imagenet(network: MobileNetV2, weights: Path, films: Tensor) -> None:
    """Fill `network` from an ImageNet file whose batch norms were folded, and unfold them.

    The file stands for `mobilenet_v2(num_classes=1001)` on RGB in [-1, 1]. A grey film in all three
    channels equals one channel with the stem's kernels summed. Each batch norm holds only a bias;
    statistics of `films` are put in so that the function stays the same and training can go on.

    Args:
        network: freshly made by `mobilenet_v2_grey`.
        weights: safetensors file.
        films: (N, 1, S, S) float32 in [-1, 1], a few dozen training films.
    """
    state = {k: v for k, v in load_file(weights).items() if not k.startswith("classifier.")}
    state["features.0.0.weight"] = state["features.0.0.weight"].sum(dim=1, keepdim=True)
    missing, unexpected = network.load_state_dict(state, strict=False)
    if unexpected or any(not key.startswith("classifier.") for key in missing):
        raise ValueError(f"{weights.name} does not fit MobileNetV2: {missing} {unexpected}")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_unfold) for norm in norms]
    network.eval()
    with torch.no_grad():
        network(films)
    for hook in hooks:
        hook.remove()


def _unfold(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None or module.running_var is None:
        raise TypeError("only batch norms with statistics can be unfolded")
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), unbiased=False)
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    module.bias.add_(mean)
    module.weight.copy_(torch.sqrt(variance + module.eps))


def freeze_early_blocks(network: MobileNetV2) -> None:
    """Keep the first blocks' weights and statistics out of training; call after `.train()`."""
    for block in network.features[:FROZEN_BLOCKS]:
        block.eval()
        block.requires_grad_(requires_grad=False)
