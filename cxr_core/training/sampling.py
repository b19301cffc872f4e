"""Films in memory, and the order in which an epoch meets them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cxr_core.errors import DataError
from cxr_core.training import recipes
from cxr_core.training.recipes import Fit

Batch = tuple[Tensor, Tensor, Tensor]
"""Films (B, 1, S, S), truth (B, L), side on disk (B,)."""


@dataclass(frozen=True, slots=True, eq=False)
class FilmSet:
    """Films to learn from or to be judged by.

    Attributes:
        store: (M, 1, S, S) float32 in [-1, 1], usually memory-mapped and larger than memory.
        rows: (N,) which of the store take part.
        truth: (N, L) float32, 1, 0 or NaN.
        side_px: (N,) side of the film on disk, 0 unknown.
        patients: (N,) text.
    """

    store: NDArray[np.float32]
    rows: NDArray[np.int64]
    truth: NDArray[np.float32]
    side_px: NDArray[np.int64]
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        """Films."""
        return len(self.rows)

    def where(self, picks: NDArray[np.bool_] | NDArray[np.int64]) -> FilmSet:
        """Return the films of a mask or of numbers; no film is read."""
        parts = self.truth[picks], self.side_px[picks], self.patients[picks]
        return FilmSet(self.store, self.rows[picks], *parts)

    def digest(self) -> bytes:
        """Return a SHA-256 of which films these are; a memory map goes by its name, which is of them."""
        store = self.store
        own = str(store.filename).encode() if isinstance(store, np.memmap) else store.tobytes()
        return hashlib.sha256(own + self.rows.tobytes()).digest()

    def inputs(self, picks: NDArray[np.int64]) -> Tensor:
        """Return (B, 1, S, S) float32 of some of the films."""
        return torch.from_numpy(np.ascontiguousarray(self.store[self.rows[picks]]))


class Batches(Dataset[Batch]):
    """A film set that is asked for whole batches: one look into the memory map each, in its order."""

    def __init__(self, films: FilmSet, picks: NDArray[np.int64]) -> None:
        """Name the films of the set that take part, some perhaps more than once."""
        self._films = films
        self._picks = picks

    def __getitem__(self, numbers: list[int]) -> Batch:
        """Return the films of some of the picks."""
        picks = np.sort(self._picks[numbers])
        truth, side_px = self._films.truth[picks], self._films.side_px[picks]
        return self._films.inputs(picks), torch.from_numpy(truth), torch.from_numpy(side_px)


class Order(Sampler[list[int]]):
    """Batches of one epoch, the same for the same seed and epoch: a resumed run sees what it would have seen.

    Every device takes its share of each batch's films; films left over at the end wait for another epoch.
    """

    def __init__(
        self, weights: NDArray[np.float64] | None, films: int, batch: int, seed: int, rank: int, ranks: int
    ) -> None:
        """Draw `films` films an epoch, by weight if there are `weights` (films,), else each once.

        Raises:
            DataError: not every device gets one.
        """
        if films < ranks:
            raise DataError(f"{films} films to learn from on {ranks} devices")
        self._weights = weights
        self._films = films
        self._batch = min(batch, films // ranks)
        self._seed = seed
        self._rank, self._ranks = rank, ranks
        self._epoch = 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._films // (self._batch * self._ranks)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is next; Lightning calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the row numbers of each batch."""
        rng = np.random.default_rng((self._seed, self._epoch))
        if self._weights is None:
            order = rng.permutation(self._films)
        else:
            order = rng.choice(self._films, size=self._films, p=self._weights / self._weights.sum())
        whole = order[: len(self) * self._batch * self._ranks].reshape(len(self), self._ranks, self._batch)
        for batch in whole[:, self._rank]:
            yield batch.tolist()


def picks_of(truth: NDArray[np.float32], fit: Fit) -> NDArray[np.int64]:
    """Return the films of an epoch: every film once, films with a rare label `copies_of_rare` times more."""
    every = np.arange(len(truth))
    rare = (np.nansum(truth, axis=0) < fit.rare_below) & (np.nansum(truth, axis=0) > 0)
    with_rare = every[(truth[:, rare] == 1).any(axis=1)]
    return np.concatenate([every, np.repeat(with_rare, fit.copies_of_rare)])


def film_weights(truth: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (N,) weights: one over the films of a film's rarest label, or over the films without any.

    >>> film_weights(np.array([[1, 0], [1, 1], [0, 0], [0, 0]], dtype=np.float32)).tolist()
    [0.5, 1.0, 0.5, 0.5]
    """
    present = truth == 1
    counts = np.maximum(present.sum(axis=0), 1)
    without = max(int((~present.any(axis=1)).sum()), 1)
    rarest = np.where(present, 1.0 / counts, 0.0).max(axis=1)
    weights: NDArray[np.float64] = np.where(present.any(axis=1), rarest, 1.0 / without)
    return weights


def training_loader(
    films: FilmSet, fit: Fit, *, seed: int, rank: int, ranks: int, workers: int
) -> DataLoader[Batch]:
    """Return what feeds a training run: whole batches in a reproducible order."""
    picks = picks_of(films.truth, fit)
    weights = film_weights(films.truth[picks]) if fit.sampler is recipes.Sampler.WEIGHTED else None
    order = Order(weights, len(picks), fit.batch, seed, rank, ranks)
    return _loader(Batches(films, picks), order, workers)


def checking_loader(films: FilmSet, batch: int, workers: int) -> DataLoader[Batch]:
    """Return all films once, in their order; every device looks at all of them."""
    starts = range(0, len(films), batch)
    groups = [list(range(start, min(start + batch, len(films)))) for start in starts]
    return _loader(Batches(films, np.arange(len(films))), groups, workers)


def _loader(batches: Batches, order: Order | list[list[int]], workers: int) -> DataLoader[Batch]:
    pinned = torch.cuda.is_available()
    return DataLoader(
        batches,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )
