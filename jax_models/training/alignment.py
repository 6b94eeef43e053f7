"""Energies of two methods on one scale: methods differ by a constant for each element, which means nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def aligned_references(counts: Float[np.ndarray, "B S"], difference: Float[np.ndarray, " B"]) -> Float[np.ndarray, " S"]:
    """Energy of each element (eV) whose sum over the atoms is closest to ``difference``, per atom, by least squares.

    Where the compositions do not tell elements apart, the solution closest to one common energy is taken.

    Args:
        counts: atoms of each element in each structure.
        difference: eV, of each structure: one method's energy less the other's.

    Example:
        >>> aligned_references(np.array([[2.0, 1.0], [0.0, 2.0]]), np.array([7.0, 6.0])).tolist()
        [2.0, 3.0]
    """
    sizes = counts.sum(axis=1)
    fractions, per_atom = counts / sizes[:, None], difference / sizes
    common = per_atom.mean()
    result = common + np.linalg.lstsq(fractions, per_atom - common, rcond=1e-6)[0]
    # An element that no structure holds has no energy to speak of.
    return np.where(counts.any(axis=0), result, 0.0)
