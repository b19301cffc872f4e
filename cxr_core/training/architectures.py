"""The families of networks for one grey channel: films (N, 1, S, S) to feature maps (N, C, h, w)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from cxr_core.training.recipes import Architecture


def features_of(architecture: Architecture) -> tuple[nn.Module, int, int]:
    """Return a fresh feature extractor, its number of channels C and its stride S / h in pixels."""
    make, channels, stride_px = _FAMILIES[architecture]
    return make(), channels, stride_px


def simple_cnn() -> nn.Module:
    """Return two convolutions: the baseline that everything larger has to beat."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def small_cnn() -> nn.Module:
    """Return four convolutions with batch norms, each followed by halving the side."""
    blocks: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64), (64, 128)):
        convolution = nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False)
        blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks)


class PreactBlock(nn.Module):
    """Two 3 x 3 convolutions, each after norm and ReLU, beside the identity (He 2016, arXiv:1603.05027)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        changes = stride != 1 or before != after
        self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, after, h / stride, w / stride)."""
        active = F.relu(self.norm1(maps))
        kept = maps if self.shortcut is None else self.shortcut(active)
        changed: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return changed + kept


def resnet18_preact() -> nn.Module:
    """Return the pre-activation residual network of 18 layers, up to its last norm and ReLU."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)),
        ("maxpool", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),
    ]
    for number, (before, after) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
        first = PreactBlock(before, after, stride=1 if number == 1 else 2)
        layers.append((f"layer{number}", nn.Sequential(first, PreactBlock(after, after, stride=1))))
    layers += [("norm", nn.BatchNorm2d(512)), ("relu", nn.ReLU())]
    return nn.Sequential(OrderedDict(layers))


def resnet50() -> nn.Module:
    """Return torchvision's ResNet-50 up to its last stage, with one input channel."""
    network = models.resnet50()
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    kept = [(name, child) for name, child in network.named_children() if name not in ("avgpool", "fc")]
    return nn.Sequential(OrderedDict(kept))


def densenet121() -> nn.Module:
    """Return torchvision's DenseNet-121 up to the ReLU after its last norm, with one input channel."""
    layers = OrderedDict(models.densenet121().features.named_children())
    layers["conv0"] = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    layers["relu5"] = nn.ReLU()
    return nn.Sequential(layers)


def efficientnet_b0() -> nn.Module:
    """Return torchvision's EfficientNet-B0 up to its last convolution, with one input channel."""
    network = models.efficientnet_b0()
    network.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
    return strided_in_float32(nn.Sequential(*network.features))


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride, which a CPU trains in float32 whatever the precision.

    Torch is so slow at its gradient in bfloat16 that most of what the rest gains is lost.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, h / stride, w / stride) of maps (N, C, h, w)."""
        if not self.training or maps.device.type != "cpu":
            return super().forward(maps)
        with torch.autocast("cpu", enabled=False):
            return super().forward(maps.float())


def strided_in_float32(network: nn.Module) -> nn.Module:
    """Make each strided depthwise convolution of a network a `StridedDepthwise`, in place; return it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.stride) > 1:
            module.__class__ = StridedDepthwise
    return network


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2 for one grey channel whose last feature map has stride 16, not 32.

    The last stage keeps its resolution, so that a 160-pixel film gives 10 x 10 maps: heatmaps twice
    as fine for a sixth more training time. (Dilating it too, as DeepLab does, cost a third more.)
    """
    network = models.mobilenet_v2()
    network.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
    network.features[14].conv[1][0].stride = (1, 1)
    return strided_in_float32(nn.Sequential(*network.features))


class Attention(nn.Module):
    """One layer of a vision transformer: attention, then two linear layers, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, T, width) of the same."""
        films, count, width = tokens.shape
        parts = self.query_key_value(self.norm1(tokens)).view(films, count, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        looked = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(looked.transpose(1, 2).reshape(films, count, width))
        changed: Tensor = self.narrow(F.gelu(self.wide(self.norm2(tokens))))
        return tokens + changed


class Vit(nn.Module):
    """A small vision transformer (Dosovitskiy 2021) with sine positions; its tokens are the feature maps."""

    def __init__(self, patch_px: int = 16, width: int = 192, depth: int = 6, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=patch_px, stride=patch_px)
        self.layers = nn.Sequential(*(Attention(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, films: Tensor) -> Tensor:
        """Return (N, width, S / patch, S / patch)."""
        maps = self.patches(films)
        tokens = maps.flatten(2).transpose(1, 2) + positions(*maps.shape[1:]).to(maps)
        answer: Tensor = self.norm(self.layers(tokens)).transpose(1, 2)
        return answer.reshape(maps.shape)


def positions(width: int, rows: int, columns: int) -> Tensor:
    """Return (rows * columns, width) sines and cosines of row and column (Vaswani 2017, in 2-D)."""
    scales = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    angles = (places[:, :, None] * scales).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


_FAMILIES: dict[Architecture, tuple[Callable[[], nn.Module], int, int]] = {
    Architecture.SIMPLE_CNN: (simple_cnn, 32, 8),
    Architecture.SMALL_CNN: (small_cnn, 128, 16),
    Architecture.RESNET18_PREACT: (resnet18_preact, 512, 32),
    Architecture.RESNET50: (resnet50, 2048, 32),
    Architecture.DENSENET121: (densenet121, 1024, 32),
    Architecture.EFFICIENTNET_B0: (efficientnet_b0, 1280, 32),
    Architecture.VIT: (Vit, 192, 16),
    Architecture.MOBILENET_V2_GREY: (mobilenet_v2, 1280, 16),
}
