"""Snapshots of molecular dynamics: structures as a temperature makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution


def snapshots(
    start: Atoms,
    calculator: Calculator,
    generator: np.random.Generator,
    temperatures: Sequence[float],
    number: int,
    config_type: str,
) -> list[Atoms]:
    """Langevin dynamics from ``start`` at each of ``temperatures`` (K), ``number`` snapshots from each, 0.1 ps
    apart."""
    structures = []
    for temperature in temperatures:
        atoms = start.copy()
        atoms.calc = calculator
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=generator)
        dynamics = Langevin(
            atoms, 2 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=generator, fixcm=False
        )
        for _ in range(number):
            dynamics.run(50)
            structures.append(named(atoms.copy(), config_type))
    return structures


def named(atoms: Atoms, config_type: str) -> Atoms:
    """``atoms`` with its ``config_type``, wrapped, without velocities: a data set's frame."""
    atoms.info["config_type"] = config_type
    atoms.set_array("momenta", None)
    atoms.wrap()
    return atoms
