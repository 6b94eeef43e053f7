"""Reference points: where an environment is looked at from. One file each, one registry line below.

Another set is a class with ``defaults``, ``__init__(self, cutoff, **settings)``, ``descriptor_cutoff`` (Å: how far
is seen from a point) and ``over_points(neighborhood, function)``: for each point that belongs to a centre it calls
``function`` with the Neighborhood of the points (one a centre, species -1) and their weights, and returns the sum.
How a point moves with the atoms is in its vectors: the forces are their derivatives. ``centers`` says whose the rows
of the Neighborhood are: "atoms", or "grid" for points that belong to no atom, which engines make themselves.
docs/descriptors.md has an example.
"""

from typing import Any

from jax_models.reference_points.atoms import Atoms
from jax_models.reference_points.bonds import Bonds
from jax_models.reference_points.grid import Grid

REFERENCE_POINTS: dict[str, Any] = {"atoms": Atoms, "bonds": Bonds, "grid": Grid}
