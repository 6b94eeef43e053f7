"""The vacancy of an elemental crystal: what it costs to make, and to move to a neighbouring site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic, get_distances

from jax_models import ConfigError, StructureError
from jaxff.properties.barrier import Barrier, find_barrier
from jaxff.properties.relaxation import relax, require_crystal
from jaxff.properties.saddle import Saddle, curvatures

WIDTH = 10.0
"""Å: a vacancy and its images are at least so far apart, measured across each face of the cell."""
STARTS = (0.0, 0.2)
"""Part of their distance that the neighbours of a vacancy are moved into it before they relax."""
NEAREST = 1.1
"""Neighbours up to this times the shortest distance are nearest ones."""


@dataclass(frozen=True)
class Vacancy:
    """A vacancy in a fixed cell of the relaxed crystal."""

    formation_energy: float
    """eV: E(with vacancy) - (N - 1)/N E(perfect), N atoms in the perfect cell."""
    hop: Barrier
    """The path of a nearest neighbour into the vacancy."""
    saddle: Saddle
    atoms: Atoms
    """The relaxed vacancy."""
    repeat: tuple[int, int, int]
    """Cells of the given crystal along each vector."""

    @property
    def migration_barrier(self) -> float:
        """eV."""
        return self.hop.forward


def vacancy(
    crystal: Atoms,
    calculator: Calculator,
    *,
    site: int = 0,
    repeat: tuple[int, int, int] | None = None,
    images: int = 5,
    fmax: float = 0.01,
    relax_cell: bool = True,
) -> Vacancy:
    """Formation energy and migration barrier of a vacancy, in a fixed cell.

    The crystal is relaxed and repeated; one atom is taken out, and the others relax: from where they are, and from
    neighbours moved inwards, for in an open crystal these may bind to each other across the vacancy. The lower end
    counts. A nearest neighbour of the empty site then moves into it (`find_barrier`: climbing-image nudged elastic
    band), and the curvatures at the saddle are looked at: there must be one direction, and one only, in which the
    energy falls.

    Args:
        crystal: of one element, periodic in three directions; any cell.
        calculator: gives forces, and stress if the cell is to relax.
        site: the atom of ``crystal`` that leaves.
        repeat: cells along each vector; None: as many as keep the vacancy `WIDTH` from its images.
        images: moving images of the band; an odd number puts one on a saddle half-way.
        fmax: eV/Å, for atoms and band.
        relax_cell: relax atoms and cell of the crystal first.

    Raises:
        StructureError: not a crystal of one element, or no such site.
        ConfigError: ``repeat`` is not three positive whole numbers; no image.
        ConvergenceError: a relaxation or the band does not converge.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> result = vacancy(bulk("Cu"), EMT(), repeat=(3, 3, 3), images=1)
        >>> round(result.formation_energy, 1), round(result.migration_barrier, 1)
        (1.2, 0.6)
    """
    _check(crystal, site, repeat)
    unit = crystal.copy()
    unit.calc = calculator
    if relax_cell:
        relax(unit, min(1e-3, fmax), cell=True)
    repeat = repeat or repeats(unit)
    perfect = unit.copy() * repeat
    perfect.calc = calculator
    relax(perfect, min(1e-3, fmax))
    reference = perfect.get_potential_energy()
    neighbor = _nearest(perfect, site)
    initial, final = perfect.copy(), perfect.copy()
    step = find_mic(perfect.positions[site] - perfect.positions[neighbor], perfect.cell, perfect.pbc)[0]
    final.positions[neighbor] += step
    del initial[site], final[site]
    energies = {}
    for inward in STARTS:
        start = _towards(initial, perfect.positions[site], inward)
        start.calc = calculator
        relax(start, fmax)
        energies[inward] = start.get_potential_energy()
    # Of starts that end at the same energy, the first.
    inward = min(STARTS, key=lambda start: round(energies[start], 4))
    formation = energies[inward] - (len(perfect) - 1) / len(perfect) * reference
    ends = _towards(initial, perfect.positions[site], inward), _towards(final, perfect.positions[neighbor], inward)
    hop = find_barrier(*ends, calculator, images, fmax)
    return Vacancy(float(formation), hop, curvatures(hop.saddle, calculator), hop.images[0], repeat)


def _towards(atoms: Atoms, hole: np.ndarray, inward: float) -> Atoms:
    """A copy with the nearest neighbours of ``hole`` moved by that part of their distance towards it."""
    steps, distances = find_mic(hole - atoms.positions, atoms.cell, atoms.pbc)
    near = distances < NEAREST * distances.min()
    moved = atoms.copy()
    moved.positions[near] += inward * steps[near]
    return moved


def repeats(crystal: Atoms, width: float = WIDTH) -> tuple[int, int, int]:
    """Cells along each vector that make every face-to-face distance at least ``width`` (Å)."""
    distances = 1.0 / np.linalg.norm(np.linalg.inv(crystal.cell.array), axis=0)
    a, b, c = np.ceil(width / distances - 1e-6)
    return int(a), int(b), int(c)


def _nearest(perfect: Atoms, site: int) -> int:
    """The nearest neighbour of ``site``; of several as near, the first."""
    others = np.delete(np.arange(len(perfect)), site)
    _, distances = get_distances(perfect.positions[[site]], perfect.positions[others], perfect.cell, perfect.pbc)
    return int(others[np.argmax(distances[0] < distances.min() + 1e-3)])


def _check(crystal: Atoms, site: int, repeat: tuple[int, int, int] | None) -> None:
    require_crystal(crystal, "a vacancy needs")
    if len(set(crystal.numbers)) > 1:
        raise StructureError(
            f"{crystal.get_chemical_formula()} has several elements: what an atom that leaves it costs depends "
            "on where it goes; "
            "give a crystal of one element"
        )
    if not 0 <= site < len(crystal):
        raise StructureError(f"there is no atom {site}; the crystal has atoms 0 to {len(crystal) - 1}")
    if repeat is not None and not (len(repeat) == 3 and all(isinstance(n, int) and n > 0 for n in repeat)):
        raise ConfigError(f"repeat is {repeat}; it must be three positive whole numbers")
    if repeat is not None and len(crystal) * int(np.prod(repeat)) < 4:
        raise ConfigError(f"{repeat} cells hold too few atoms for a vacancy and a neighbour that moves")
