"""Regularised least squares whose equations come in pieces: triangular factors are kept, the rows are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

STRENGTHS = 10.0 ** np.arange(-14.0, 1.1, 0.5)
"""Strengths of a ridge or a prior that are tried, in units of the largest eigenvalue of the scaled normal matrix."""
FOLDS = 8
"""Parts of the data, each of which is left out once in a cross-validation."""


def triangle(blocks: Iterable[Float[np.ndarray, "R Q"]], n_columns: int) -> Float[np.ndarray, "T Q"]:
    """The triangular factor R of all rows stacked: its squares are theirs, whatever their number.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> r = triangle([rows[:60], rows[60:]], 3)
        >>> r.shape, bool(np.allclose(r.T @ r, rows.T @ rows))
        ((3, 3), True)
    """
    factor = np.zeros((0, n_columns))
    waiting: list[np.ndarray] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += len(block)
        if n_waiting > 4 * n_columns:
            factor = _reduced(factor, waiting)
            waiting, n_waiting = [], 0
    return _reduced(factor, waiting)


def _reduced(factor: np.ndarray, blocks: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.concatenate([factor, *blocks])
    if len(stacked) <= stacked.shape[1]:
        return stacked
    reduced: Any = np.linalg.qr(stacked, mode="r")  # NumPy declares a pair of arrays, whatever the mode
    return reduced


@dataclass(frozen=True, eq=False)
class Ridge:
    """Solutions of ``rows`` for every ridge strength, from one decomposition.

    Minimises |A x - b|^2 + strength s^2 |scale x|^2, with A and b from ``rows`` (b its last column) and s the largest
    singular value of A / scale: what is penalised is what a parameter contributes, whatever its unit.
    """

    left: Float[np.ndarray, " M"]
    singular: Float[np.ndarray, " M"]
    right: Float[np.ndarray, "M P"]
    scale: Float[np.ndarray, " P"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "R P+1"], scale: Float[np.ndarray, " P"] | None = None) -> Ridge:
        scale = np.ones(rows.shape[1] - 1) if scale is None else scale
        u, singular, vt = np.linalg.svd(rows[:, :-1] / scale, full_matrices=False)
        keep = singular > 1e-15 * singular.max(initial=1e-300)
        return cls((rows[:, -1] @ u)[keep], singular[keep], vt[keep], scale)

    def __call__(self, strength: float) -> Float[np.ndarray, " P"]:
        """The parameters for one strength."""
        damping = self.singular**2 + strength * self.singular.max(initial=0.0) ** 2
        return (self.singular * self.left / damping) @ self.right / self.scale

    def draw(self, strength: float, number: int, seed: int) -> Float[np.ndarray, "M P"]:
        """``number`` errors that the parameters may have, from their covariance with unit noise; they sum to zero."""
        damping = self.singular**2 + strength * self.singular.max(initial=0.0) ** 2
        noise = np.random.default_rng([seed, 14]).normal(size=(number, len(damping)))
        drawn = (noise / np.sqrt(damping)) @ self.right / self.scale
        return drawn - drawn.mean(axis=0)


@dataclass(frozen=True, eq=False)
class Validated:
    """A fit whose ridge strength cross-validation chose."""

    parameters: Float[np.ndarray, " P"]
    strength: float
    path: list[dict[str, float]]
    """For each strength tried: ``ridge``, ``training_loss`` and ``validation_loss`` (sums of squares over all rows)."""
    ridge: Ridge
    """Solutions of all parts together."""


def folds_of(kinds: Sequence[tuple[str, float]], n_folds: int) -> np.ndarray:
    """A fold for each structure, so that what is left out asks for extrapolation.

    Snapshots of one trajectory resemble each other: left out at random, they are predicted by any model that fits the
    rest. Here each fold has of every family a run of neighbouring energies, one the coldest and one the hottest.

    Args:
        kinds: family and energy (eV/atom) of each structure; see `Problem.kinds`.
        n_folds: how many; a family smaller than that is in as many folds as it has members.

    Example:
        >>> folds_of([("md", -1.0), ("md", -4.0), ("md", -3.0), ("md", -2.0), ("slab", 0.0)], 2).tolist()
        [1, 0, 0, 1, 0]
    """
    folds, start = np.empty(len(kinds), int), 0
    for family in sorted({name for name, _ in kinds}):
        members = sorted((i for i, (name, _) in enumerate(kinds) if name == family), key=lambda i: kinds[i][1])
        if len(members) >= n_folds:
            folds[members] = np.arange(len(members)) * n_folds // len(members)
        else:
            # Small families go round: else all single structures were in the first fold.
            folds[members] = (start + np.arange(len(members))) % n_folds
            start += len(members)
    return folds


def cross_validated(
    parts: Sequence[Float[np.ndarray, "T P+1"]],
    strengths: Sequence[float] | Float[np.ndarray, " L"] = STRENGTHS,
    scale: Float[np.ndarray, " P"] | None = None,
) -> Validated:
    """Fit to all ``parts``, with the strength that predicts each part best from the others.

    Args:
        parts: the triangles (or rows) of the folds.
        strengths: what is tried; one alone is taken without a trial.
        scale: see `Ridge`.
    """
    n_columns = parts[0].shape[1]
    path = [{"ridge": float(s), "training_loss": 0.0, "validation_loss": 0.0} for s in strengths]
    complete = Ridge.of(triangle(parts, n_columns), scale)
    for number, held_out in enumerate(parts if len(parts) > 1 else []):
        solutions = Ridge.of(triangle([p for n, p in enumerate(parts) if n != number], n_columns), scale)
        for record in path:
            record["validation_loss"] += loss(held_out, solutions(record["ridge"]))
    for record in path:
        record["training_loss"] = sum(loss(part, complete(record["ridge"])) for part in parts)
    key = "validation_loss" if len(parts) > 1 else "training_loss"
    best = min(path, key=lambda record: record[key])["ridge"]
    return Validated(complete(best), best, path, complete)


def loss(rows: Float[np.ndarray, "R P+1"], parameters: Float[np.ndarray, " P"]) -> float:
    """Sum of squared residuals."""
    return float(np.sum((rows[:, :-1] @ parameters - rows[:, -1]) ** 2))
