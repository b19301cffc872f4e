"""The torch definitions behind the model folders."""

from __future__ import annotations

from torch import Tensor, nn

from cxr_core.inference.heads import Pooling
from cxr_core.training.architectures import features_of
from cxr_core.training.recipes import Network


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
        channels: C.
        stride_px: S / h.
        mirrored: see `recipes.Network`.
    """

    def __init__(self, network: Network, outputs: int) -> None:
        super().__init__()
        self.features, self.channels, self.stride_px = features_of(network.architecture)
        self.mirrored = network.mirrored
        self.pooling = Pool(network.pooling)
        self.dropout = nn.Dropout(0.0 if network.hidden else network.dropout)
        self.head: nn.Module = nn.Linear(network.hidden or self.channels, outputs)
        if network.hidden:
            wide = nn.Linear(self.channels, network.hidden)
            self.head = nn.Sequential(wide, nn.ReLU(), nn.Dropout(network.dropout), self.head)

    def forward(self, films: Tensor) -> Tensor:
        """Return logits (N, L) of films (N, 1, S, S)."""
        logits: Tensor = self.head(self.dropout(self.pooling(self.maps(films))))
        return logits

    def maps(self, films: Tensor) -> Tensor:
        """Return feature maps (N, C, h, w) of films; outside of training with those of the mirror images."""
        maps: Tensor = self.features(films)
        if self.training or not self.mirrored:
            return maps
        mirrored: Tensor = self.features(films.flip(3)).flip(3)
        return (maps + mirrored) / 2


def build(network: Network, outputs: int) -> Classifier:
    """Return the untrained network of a recipe with this number of logits."""
    return Classifier(network, outputs)
