"""The networks of a run as they are served: one ONNX network, one file of weights, held equal to torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cxr_core.errors import ModelError
from cxr_core.inference.registry import LABELS, labels_text
from cxr_core.inference.runtime import open_session
from cxr_core.training.networks import Classifier

LARGEST_DIFFERENCE = 1e-3
"""In logits, between torch and ONNX Runtime: above it nothing is exported."""


class Served(nn.Module):
    """Several networks answering side by side; what is exported."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members: Sequence[Classifier] = nn.ModuleList(members)  # type: ignore[assignment]

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, M, L) and last feature maps (N, M, C, h, w) of films (N, 1, S, S)."""
        features = [member.maps(film) for member in self.members]
        logits = [
            member.head(member.pooling(maps)) for member, maps in zip(self.members, features, strict=True)
        ]
        return torch.stack(logits, dim=1), torch.stack(features, dim=1)


def last_layer(member: Classifier) -> nn.Linear:
    """Return the linear layer that gives the logits.

    Raises:
        ModelError: the head is of another kind than one or two linear layers.
    """
    last = member.head[-1] if isinstance(member.head, nn.Sequential) else member.head
    if not isinstance(last, nn.Linear):
        raise ModelError(f"expected a head that ends with a linear layer, got {type(last).__name__}")
    return last


def load_weights(member: Classifier, path: Path) -> None:
    """Fill a network from safetensors, in place; it is left in evaluation mode.

    Raises:
        ModelError: the file cannot be read or is of another network.
    """
    try:
        member.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as exc:
        raise ModelError(f"{path.parent.name}/{path.name}: cannot be read as safetensors") from exc
    except RuntimeError as exc:
        raise ModelError(f"{path.parent.name}/{path.name}: holds another network than the recipe's") from exc
    member.eval()


def one_logit(member: Classifier) -> None:
    """Make one logit of a softmax over (without, with the finding), in place: their difference.

    sigmoid(with − without) is the softmax's share of "with", so nothing else changes.
    """
    last = last_layer(member)
    single = nn.Linear(last.in_features, 1)
    with torch.no_grad():
        single.weight.copy_(last.weight[1:2] - last.weight[0:1])
        single.bias.copy_(last.bias[1:2] - last.bias[0:1])
    if isinstance(member.head, nn.Sequential):
        member.head[-1] = single
    else:
        member.head = single


def pool(member: Classifier, films: NDArray[np.float32], batch: int = 64) -> NDArray[np.float32]:
    """Return (N, C) float32: what the head sees of films (N, 1, S, S)."""
    device = next(member.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(films), batch):
            part = torch.from_numpy(np.array(films[start : start + batch])).to(
                device, memory_format=torch.channels_last
            )
            parts.append(member.pooling(member.maps(part)).cpu().numpy())
    answer: NDArray[np.float32] = np.concatenate(parts)
    return answer


def head_logits(member: Classifier, pooled: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (N, L) float64 logits of what `pool` returned."""
    device = next(member.parameters()).device
    with torch.inference_mode():
        logits = member.head(torch.from_numpy(pooled).to(device)).cpu().numpy()
    answer: NDArray[np.float64] = logits.astype(np.float64)
    return answer


def save_weights(served: Served, labels: Sequence[str], path: Path) -> None:
    """Write every member and, for heatmaps without torch, the stacked heads."""
    tensors = {
        f"members.{number}.{key}": value.detach().cpu().contiguous()
        for number, member in enumerate(served.members)
        for key, value in member.state_dict().items()
    }
    layers = {"": [last_layer(member) for member in served.members]}
    if isinstance(served.members[0].head, nn.Sequential):
        layers["hidden."] = [member.head[0] for member in served.members]  # type: ignore[index]
    for name, each in layers.items():
        for part in ("weight", "bias"):
            stacked = torch.stack([getattr(layer, part).detach().cpu() for layer in each])
            tensors[f"heads.{name}{part}"] = stacked.contiguous()
    save_file(tensors, path, metadata={LABELS: labels_text(labels)})
    path.chmod(0o644)


def hidden_width(served: Served) -> int:
    """Return the width of the hidden layer, 0 without one."""
    head = served.members[0].head
    return last_layer(served.members[0]).in_features if isinstance(head, nn.Sequential) else 0


def save_onnx(served: Served, labels: Sequence[str], side: int, path: Path) -> None:
    """Export films (N, 1, side, side) → logits (N, M, L) and features (N, M, C, h, w), any N."""
    program = torch.onnx.export(
        served.cpu().eval().to(memory_format=torch.contiguous_format),
        (torch.zeros(2, 1, side, side),),
        input_names=["film"],
        output_names=["logits", "features"],
        dynamic_shapes={"film": {0: torch.export.Dim("films")}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ModelError("the ONNX exporter returned nothing")
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces: paths of the machine that made it
    program.model.metadata_props[LABELS] = labels_text(labels)
    program.save(path, external_data=False)


def check_same(served: Served, path: Path, films: NDArray[np.float32]) -> float:
    """Return the largest difference in logits between torch and the written network on films.

    Raises:
        ModelError: it is above `LARGEST_DIFFERENCE`, or no number.
    """
    with torch.inference_mode():
        expected = served(torch.from_numpy(np.array(films)))[0].numpy()
    (got,) = open_session(path, 0).run(["logits"], {"film": np.array(films)})
    worst = float(np.abs(got - expected).max())
    if not worst <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"torch and {path.name} differ by {worst:.4g} in a logit, allowed {LARGEST_DIFFERENCE:g}; "
            "nothing was exported"
        )
    return worst
