"""The equation of state of a crystal: energy against volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState as Fit
from jaxtyping import Float

from jax_models import ConfigError, ConvergenceError
from jaxff.properties.relaxation import relax, require_crystal


@dataclass(frozen=True)
class EquationOfState:
    """Energies at several volumes, and the Birch-Murnaghan curve through them. All per atom."""

    volumes: Float[np.ndarray, " M"]
    """Å^3/atom."""
    energies: Float[np.ndarray, " M"]
    """eV/atom."""
    volume: float
    """Å^3/atom at the minimum."""
    energy: float
    """eV/atom there."""
    bulk_modulus: float
    """GPa."""
    derivative: float
    """dB/dp, a number."""
    residual: float
    """eV/atom: root-mean-square distance of the energies from the curve."""


def equation_of_state(atoms: Atoms, strain: float = 0.03, points: int = 11, fmax: float = 1e-3) -> EquationOfState:
    """Relax the crystal, scale its cell, relax the atoms in each, and fit the third-order Birch-Murnaghan equation.

    Args:
        atoms: a crystal with a calculator that gives stress; left as it is. Its shape is kept when it is scaled.
        strain: the lattice vectors are scaled by up to 1 ± this.
        points: volumes, at least 5.
        fmax: eV/Å, to which atoms relax.

    Raises:
        StructureError: the structure is not periodic in three directions.
        ConfigError: ``strain`` is not between 0 and 0.2, or there are fewer than 5 points.
        ConvergenceError: a relaxation does not converge, or no minimum lies among the volumes.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> copper = bulk("Cu", a=3.6)
        >>> copper.calc = EMT()
        >>> round(equation_of_state(copper).bulk_modulus)
        134
    """
    if not 0 < strain < 0.2:
        raise ConfigError(f"strain is {strain}; it must be between 0 and 0.2")
    if points < 5:
        raise ConfigError(f"points is {points}; four parameters need at least 5")
    require_crystal(atoms, "an equation of state needs")
    crystal = atoms.copy()
    crystal.calc = atoms.calc
    relax(crystal, fmax, cell=True)
    volumes, energies = [], []
    for scale in np.linspace(1 - strain, 1 + strain, points):
        scaled = crystal.copy()
        scaled.set_cell(scale * crystal.cell.array, scale_atoms=True)
        scaled.calc = atoms.calc
        relax(scaled, fmax)
        volumes.append(scaled.get_volume() / len(atoms))
        energies.append(scaled.get_potential_energy() / len(atoms))
    fit = Fit(volumes, energies, eos="birchmurnaghan")
    try:
        volume, energy, modulus = fit.fit(warn=False)
        derivative = fit.eos_parameters[2]
        residual = np.sqrt(np.mean((fit.func(np.array(volumes), *fit.eos_parameters) - energies) ** 2))
    except (RuntimeError, ValueError) as error:
        raise ConvergenceError(
            f"the energies of {atoms.get_chemical_formula()} follow no equation of state: {error}"
        ) from None
    if not volumes[0] < volume < volumes[-1]:
        raise ConvergenceError(
            f"the fitted minimum, {volume:.3f} Å^3/atom, lies outside of the volumes tried; use a larger strain"
        )
    numbers = (float(v) for v in (volume, energy, modulus / units.GPa, derivative, residual))
    return EquationOfState(np.array(volumes), np.array(energies), *numbers)
