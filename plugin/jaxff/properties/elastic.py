"""Elastic constants of a crystal: exactly, from a potential, or from stresses of strained cells with any ASE
calculator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from jax_models import ConfigError
from jaxff.properties.relaxation import relax as relax_structure
from jaxff.properties.relaxation import require_crystal
from jaxff.properties.voigt import strain_of

METHODS = ("autodiff", "stress")


@dataclass(frozen=True)
class Elastic:
    """Elastic constants of a crystal in the frame of its cell."""

    constants: Float[np.ndarray, "6 6"]
    """GPa, Voigt order xx, yy, zz, yz, xz, xy; symmetric."""
    atoms: Atoms
    """The structure they belong to, relaxed unless that was declined."""

    @property
    def bulk_modulus(self) -> float:
        """GPa: the answer of the volume to pressure (Reuss), which for a cubic crystal is (C11 + 2 C12) / 3."""
        return float(1.0 / np.linalg.inv(self.constants)[:3, :3].sum())


def elastic_constants(
    atoms: Atoms,
    relax: bool = True,
    clamped: bool = False,
    strain: float = 0.005,
    fmax: float = 1e-4,
    method: str = "stress",
) -> Elastic:
    """The 6 x 6 elastic constants, atoms relaxing inside strained cells as they do in an experiment; symmetrised.

    Two ways: ``stress`` applies each of six strains with both signs to the cell, relaxes the atoms inside it, and takes
    dstress/dstrain as one column. ``autodiff`` takes the second derivatives of a `Potential`'s energy instead
    (`elastic_autodiff`): no finite strain, no error of it.

    Args:
        atoms: a crystal with a calculator that gives stress; left as it is. ``autodiff`` needs a `JaxffCalculator`.
        relax: relax atoms and cell first; without it the constants are those of the cell as given, and mean
            little where it is under stress.
        clamped: keep the atoms' fractional coordinates under strain ("clamped-ion" constants).
        strain: its size for ``stress``; shears are engineering strains (twice the tensor's component).
        fmax: eV/Å, to which atoms relax. Loose forces show in the constants: 1e-4 is about 0.1 GPa by stresses.
        method: "stress" or "autodiff".

    Raises:
        StructureError: the structure is not periodic in three directions, or (autodiff) relaxes to no minimum.
        ConfigError: ``strain`` is not between 0 and 0.1; an unknown method, or autodiff for what has none.
        ConvergenceError: a relaxation does not converge.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> copper = bulk("Cu", a=3.6)
        >>> copper.calc = EMT()
        >>> round(elastic_constants(copper).bulk_modulus)
        134
    """
    if not 0 < strain < 0.1:
        raise ConfigError(f"strain is {strain}; it must be between 0 and 0.1")
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}; it must be {' or '.join(METHODS)}")
    potential: Any = getattr(atoms.calc, "potential", None)
    if method == "autodiff" and potential is None:
        raise ConfigError("autodiff needs atoms with a JaxffCalculator; use method stress with another calculator")
    require_crystal(atoms, "elastic constants need")
    reference = atoms.copy()
    reference.calc = atoms.calc
    if relax:
        relax_structure(reference, fmax, cell=True)
    if method == "autodiff":
        from jaxff.properties.elastic_autodiff import elastic_matrix

        constants = elastic_matrix(potential, reference, clamped)
    else:
        constants = np.empty((6, 6))
        for column in range(6):
            plus, minus = (
                _stress(reference, sign * strain * strain_of(column), None if clamped else fmax) for sign in (1, -1)
            )
            constants[:, column] = (plus - minus) / (2.0 * strain) / units.GPa
    return Elastic(0.5 * (constants + constants.T), reference.copy())


def _stress(reference: Atoms, tensor: Float[np.ndarray, "3 3"], fmax: float | None) -> Float[np.ndarray, " 6"]:
    """Stress (eV/Å³) under a strain, atoms relaxed to ``fmax`` unless that is None."""
    strained = reference.copy()
    strained.set_cell(reference.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
    strained.calc = reference.calc
    if fmax is not None:
        relax_structure(strained, fmax)
    return strained.get_stress()
