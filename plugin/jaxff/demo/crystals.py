"""The structures that the demo trains on and tests with, made from nothing."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.optimize import FIRE

from jaxff.knowledge.snapshots import named, snapshots

LATTICE = 5.43
"""Å"""
TEMPERATURES = (300, 900, 1500, 2400)
"""K, of the molecular dynamics that the snapshots come from; the last melts nothing in its short time."""


def silicon(repeat: int = 2, lattice: float = LATTICE) -> Atoms:
    """Diamond silicon, ``repeat`` conventional cells (8 atoms) of ``lattice`` Å each way."""
    return bulk("Si", a=lattice, cubic=True) * repeat


def vacancy_hop(repeat: int = 2) -> tuple[Atoms, Atoms]:
    """A crystal with a vacancy before and after a neighbour jumps into it, unrelaxed but for its four neighbours.

    These start displaced towards the vacancy, where the silicon of Stillinger and Weber binds them to each other: an
    ideal vacancy is a shallow minimum of it, 1.5 eV higher.
    """
    crystal = silicon(repeat)
    jumping = int(np.argmin(crystal.get_distances(0, range(1, len(crystal)), mic=True))) + 1
    ends = []
    for vacancy in (0, jumping):
        atoms = crystal.copy()
        if vacancy == jumping:  # the atom that jumped now fills the place of atom 0
            atoms.positions[[0, jumping]] = atoms.positions[[jumping, 0]]
        missing = crystal.positions[vacancy]
        del atoms[0]
        toward, distance = find_mic(missing - atoms.positions, atoms.cell)
        near = distance < 0.5 * LATTICE
        atoms.positions[near] += 0.2 * toward[near]
        ends.append(atoms)
    return ends[0], ends[1]


def elastic_set(generator: np.random.Generator, number: int) -> list[Atoms]:
    """Small cells under random strains of a few per cent, atoms displaced a little."""
    structures = []
    for _ in range(number):
        atoms = silicon(1)
        strain = generator.normal(scale=0.02, size=(3, 3))
        volume = generator.uniform(-0.03, 0.04) * np.eye(3)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T) + volume), scale_atoms=True)
        atoms.positions += generator.normal(scale=generator.uniform(0.0, 0.08), size=atoms.positions.shape)
        structures.append(named(atoms, "Elastic"))
    return structures


def vacancy_set(generator: np.random.Generator, number: int, calculator: Calculator) -> list[Atoms]:
    """A vacancy with its neighbour somewhere on the way into it, all atoms displaced; every other one is then relaxed
    for a few steps, since the path that matters runs at the bottom of the valley."""
    initial, final = vacancy_hop()
    structures = []
    path = find_mic(final.positions - initial.positions, initial.cell)[0]
    for n, fraction in enumerate(np.linspace(0.0, 1.0, number)):
        atoms = initial.copy()
        atoms.positions += fraction * path
        atoms.positions += generator.normal(scale=generator.uniform(0.02, 0.12), size=atoms.positions.shape)
        if n % 2:
            atoms.calc = calculator
            FIRE(atoms, logfile=None).run(fmax=1e-3, steps=int(generator.integers(5, 25)))
        structures.append(named(atoms.copy(), "Vacancy"))
    return structures


def training_structures(calculator: Calculator, seed: int = 0) -> tuple[list[Atoms], list[Atoms]]:
    """Training and test structures: strained cells, molecular dynamics, and a vacancy at rest, hopping and hot.

    Args:
        calculator: drives the molecular dynamics.
        seed: makes the sets reproducible; the two are independent draws.
    """
    sets = []
    for part, factor in ((0, 4), (1, 1)):
        generator = np.random.default_rng([seed, part])
        vacancy = vacancy_hop()[0]
        sets.append(
            [named(silicon(1), "Elastic")] * (1 - part)
            + elastic_set(generator, 8 * factor)
            + vacancy_set(generator, 4 * factor, calculator)
            + snapshots(silicon(), calculator, generator, TEMPERATURES, factor, "Crystal")
            + snapshots(vacancy, calculator, generator, TEMPERATURES, factor, "Vacancy")
        )
    return sets[0], sets[1]
