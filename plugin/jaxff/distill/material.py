"""What a teacher says of a material, from a handful of evaluations: how stiff it is, and how hot it melts, roughly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from jax_models.errors import ConvergenceError
from jaxff.knowledge.structure_families import supercell
from jaxff.properties.relaxation import relax, require_crystal

LINDEMANN, COMPOUND = 0.12, 0.16
"""Root mean square displacement of each atom, in distances of nearest neighbours, at which a crystal melts: elements
and alloys, and compounds, where neighbours are unlike (rock salt: 0.16 at 1074 K)."""
LIKE = 1.2
"""Distances of nearest neighbours within which a compound has no two atoms of one element."""
SOFTER = 0.5
"""Waves move atoms further than independent oscillators of the same stiffness; 0.56 in a Debye solid, less in open
crystals."""
COLDEST, HOTTEST = 200.0, 4000.0
"""K, between which an estimated melting point is believed."""
DISPLACEMENT = 0.03
"""Å"""
FMAX = 0.02
"""eV/Å, to which the starting structures relax."""
STEPS_A_PERIOD = 25.0
"""Of the fastest atom's oscillation."""


@dataclass(frozen=True)
class Material:
    """The structures a distillation starts from, and the scales of their forces, times and temperatures."""

    structures: list[Atoms]
    """Relaxed by the teacher where it could."""
    melting: float
    """K, by Lindemann's rule; the order of magnitude is meant."""
    stiffness: float
    """eV/Å², of the softest structure: mean force constant of a single atom."""
    bulk_modulus: float
    """GPa, of the softest."""
    timestep: float
    """fs"""

    def force_scale(self, temperature: float) -> float:
        """Root mean square of a force component (eV/Å) in a harmonic crystal at ``temperature`` (K)."""
        return float(np.sqrt(self.stiffness * units.kB * temperature))


def survey(structures: Sequence[Atoms], teacher: Calculator) -> Material:
    """Relax ``structures`` by ``teacher``, and measure them.

    The melting point follows from Lindemann's rule (Phys. Z. 11, 609), where atoms move twice as far (<u^2>) as
    independent oscillators would, 3 k_B T / k.

    Raises:
        StructureError: a structure is not periodic in three directions, or the teacher cannot evaluate it.
    """
    relaxed, stiffness, melting, moduli, periods = [], [], [], [], []
    for given in structures:
        require_crystal(given, "a distillation starts from")
        atoms = given.copy()
        atoms.calc = teacher
        try:
            relax(atoms, FMAX, cell=True, steps=200)
        except ConvergenceError:
            atoms.set_positions(given.positions)
            atoms.set_cell(given.cell)
        constants, distance, lindemann = _oscillators(atoms, teacher)
        k = float(np.mean(constants))
        stiffness.append(k)
        periods.append(_shortest_period(atoms, constants))
        melting.append(SOFTER * k * (lindemann * distance) ** 2 / (3 * units.kB))
        moduli.append(_bulk_modulus(atoms, teacher))
        atoms.calc = None
        relaxed.append(atoms)
    estimate = float(np.clip(min(melting), COLDEST, HOTTEST))
    timestep = float(np.clip(min(periods) / STEPS_A_PERIOD, 0.25, 2.0))
    return Material(relaxed, estimate, min(stiffness), min(moduli), round(timestep, 2))


def _oscillators(atoms: Atoms, teacher: Calculator) -> tuple[np.ndarray, float, float]:
    """Force constant of each atom of a supercell (eV/Å²), the shortest distance (Å), and how far, in such distances,
    atoms move where it melts."""
    cell = supercell(atoms, 16)
    cell.calc = teacher
    generator = np.random.default_rng(0)
    still = cell.get_forces()
    products, squares = np.zeros(len(cell)), np.zeros(len(cell))
    for _ in range(4):
        moved = cell.copy()
        moved.calc = teacher
        step = generator.normal(scale=DISPLACEMENT, size=cell.positions.shape)
        moved.positions += step
        # What the others do averages out: their displacements are independent.
        products -= np.sum((moved.get_forces() - still) * step, axis=1)
        squares += np.sum(step**2, axis=1)
    by_element = np.zeros(len(cell))
    for number in set(cell.numbers):
        chosen = cell.numbers == number
        by_element[chosen] = products[chosen].sum() / squares[chosen].sum()
    distances = cell.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    shortest = float(distances.min())
    alike = cell.numbers[:, None] == cell.numbers
    lindemann = LINDEMANN if np.any(alike & (distances < LIKE * shortest)) else COMPOUND
    return np.maximum(by_element, 0.1), shortest, lindemann


def _shortest_period(atoms: Atoms, constants: np.ndarray) -> float:
    """fs"""
    masses = np.resize(atoms.get_masses(), len(constants))
    return float(2 * np.pi / np.sqrt(np.max(constants / masses)) / units.fs)


def _bulk_modulus(atoms: Atoms, teacher: Calculator, strain: float = 0.01) -> float:
    """GPa, from the pressures of a smaller and a larger cell."""
    pressures = []
    for sign in (-1.0, 1.0):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * (1 + sign * strain / 3), scale_atoms=True)
        scaled.calc = teacher
        pressures.append(-float(np.mean(scaled.get_stress()[:3])) / units.GPa)
    return max((pressures[0] - pressures[1]) / (2 * strain), 1.0)
