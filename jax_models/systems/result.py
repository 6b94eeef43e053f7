"""Result: what an evaluation of a structure gives, for every kind of potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Result:
    """Energies and their derivatives of one structure of N atoms, in float64.

    Further outputs that a contract declares stand under their names in ``more``: arrays of one row an atom, or of one
    value a structure.
    """

    energies: Float[np.ndarray, " N"]
    """Each atom's share of the energy, eV. What a grid point sees shares its energy by (1 - (r/cutoff)^2)^3; a
    potential of whole cells shares it evenly."""
    forces: Float[np.ndarray, "N 3"]
    """eV/Å."""
    virial: Float[np.ndarray, "3 3"]
    """dE/dstrain, eV; the stress is this over the volume."""
    virials: Float[np.ndarray, "N 3 3"] | None = None
    """Each atom's share of the virial, eV; None where it was not asked for, or where there is none."""
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def energy(self) -> float:
        """eV."""
        return float(self.energies.sum())

    def to_dict(self) -> dict[str, np.ndarray | float]:
        """By the names that a contract's ``outputs`` have; without what is None."""
        found = {
            "energy": self.energy,
            "energies": self.energies,
            "forces": self.forces,
            "virial": self.virial,
            "virials": self.virials,
            **self.more,
        }
        return {name: value for name, value in found.items() if value is not None}
