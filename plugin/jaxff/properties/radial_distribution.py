"""Radial distribution functions of snapshots, periodic images included."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from jaxtyping import Float

R_MAX = 6.0
"""Å"""


def radial_distributions(
    frames: Sequence[Atoms], r_max: float = R_MAX, bins: int = 60
) -> dict[str, Float[np.ndarray, " bins"]]:
    """g(r) of each pair of elements, by names like "Li-F"; the mean over ``frames``.

    Distances go beyond half a cell: each atom sees its neighbours' images, as in an infinite repetition of the cell.

    Args:
        frames: snapshots of the same atoms, periodic in three directions.
        r_max: Å.
        bins: from 0 to ``r_max``.

    Example:
        >>> from ase.build import bulk
        >>> g = radial_distributions([bulk("Cu")], r_max=3.0, bins=3)
        >>> g["Cu-Cu"].round(2).tolist()
        [0.0, 0.0, 1.78]
    """
    edges = np.linspace(0.0, r_max, bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    symbols = np.array(frames[0].get_chemical_symbols())
    elements = list(dict.fromkeys(symbols))
    found = {f"{a}-{b}": np.zeros(bins) for a, b in itertools.combinations_with_replacement(elements, 2)}
    for atoms in frames:
        i, j, distances = neighbor_list("ijd", atoms, r_max)
        for name, counts in found.items():
            a, b = name.split("-")
            chosen = (symbols[i] == a) & (symbols[j] == b)
            expected = (symbols == a).sum() * (symbols == b).sum() / atoms.get_volume() * shells
            counts += np.histogram(distances[chosen], edges)[0] / expected
    return {name: counts / len(frames) for name, counts in found.items()}
