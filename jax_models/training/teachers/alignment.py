"""Energies of two methods on one scale.

Methods differ by a constant for each element, which means nothing. Empirical potentials are also too stiff or too soft
as a
whole: of mlearn's silicon they make two thirds to three times the energy differences that DFT finds, and a factor,
    fitted
beside the constants, takes away two thirds and more of their error.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

FACTOR_SPREAD = 0.5
"""How far from one a factor is expected to be before any label is seen."""


def aligned_references(
    counts: Float[np.ndarray, "B S"], difference: Float[np.ndarray, " B"]
) -> Float[np.ndarray, " S"]:
    """Energy of each element (eV) whose sum over the atoms is closest to ``difference``, per atom, by least squares.

    Where the compositions do not tell elements apart, the solution closest to one common energy is taken.

    Args:
        counts: atoms of each element in each structure.
        difference: eV, of each structure: one method's energy less the other's.

    Example:
        >>> aligned_references(np.array([[2.0, 1.0], [0.0, 2.0]]), np.array([7.0, 6.0])).round(9).tolist()
        [2.0, 3.0]
    """
    sizes = counts.sum(axis=1)
    fractions, per_atom = counts / sizes[:, None], difference / sizes
    common = per_atom.mean()
    result = common + np.linalg.lstsq(fractions, per_atom - common, rcond=1e-6)[0]
    # An element that no structure holds has no energy to speak of.
    return np.where(counts.any(axis=0), result, 0.0)


def aligned_factor(
    counts: Float[np.ndarray, "B S"], energies: Float[np.ndarray, " B"], labels: Float[np.ndarray, " B"]
) -> float:
    """What to multiply a method's energies with, beside other reference energies, to come closest to ``labels``.

    Ridge regression towards one: the residuals' variance against `FACTOR_SPREAD` says how much a few labels can tell.

    Args:
        counts: atoms of each element in each structure.
        energies: eV, of each structure.
        labels: eV, the other method's.

    Example:
        >>> round(aligned_factor(np.full((5, 1), 2.0), np.arange(5.0), 3.0 + 0.5 * np.arange(5.0)), 3)
        0.5
    """
    sizes = counts.sum(axis=1)
    energy, label = ((e - counts @ aligned_references(counts, e)) / sizes for e in (energies, labels))
    free = len(sizes) - np.linalg.matrix_rank(counts / sizes[:, None]) - 1
    spread = energy @ energy
    if free < 1 or spread == 0.0:
        return 1.0
    variance = np.sum((label - (energy @ label) / spread * energy) ** 2) / free
    return float(1.0 + energy @ (label - energy) / (spread + variance / FACTOR_SPREAD**2))


def aligned_error(
    counts: Float[np.ndarray, "B S"], energies: Float[np.ndarray, " B"], labels: Float[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    """Standard error of aligned energies, eV/atom: how far they are from the labels, and how far beyond these they
    reach.

    That of a prediction by linear regression: a factor fitted to cold crystals says little about a hot liquid.

    Args:
        counts: atoms of each element in each structure.
        energies: eV, aligned.
        labels: eV, the other method's; not a number where there is none.

    Example:
        >>> energies, labels = np.array([0.0, 1.0, 2.0, 3.0, 30.0]), np.array([0.1, 0.9, 1.9, 3.1, np.nan])
        >>> aligned_error(np.ones((5, 1)), energies, labels).round(1).tolist()
        [0.2, 0.2, 0.2, 0.2, 1.8]
    """
    sizes = counts.sum(axis=1)
    design = np.column_stack([counts, energies]) / sizes[:, None]
    known = np.isfinite(labels) & np.isfinite(energies)
    free = known.sum() - np.linalg.matrix_rank(design[known])
    if free < 1:
        return np.zeros(len(sizes))
    variance = np.sum(((labels - energies) / sizes)[known] ** 2) / free
    # Of an energy that is not a number the error is none either.
    leverage = np.einsum("bi,ij,bj->b", design, np.linalg.pinv(design[known].T @ design[known]), design)
    return np.sqrt(variance * (1.0 + leverage))
