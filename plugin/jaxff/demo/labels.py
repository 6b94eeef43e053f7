"""The demo's reference method: Stillinger-Weber silicon, run by LAMMPS through ASE."""

from __future__ import annotations

from collections.abc import Iterable

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from jaxff.knowledge.teachers import parse_teacher


def stillinger_weber() -> Calculator:
    """LAMMPS's own ``pair_style sw`` as an ASE calculator (Stillinger and Weber, PRB 31, 5262).

    Raises:
        ConfigError: LAMMPS cannot be loaded, or its folder of potentials is not found.
    """
    return parse_teacher(
        {"name": "sw", "pair_style": "sw", "pair_coeff": "* * Si.sw Si", "elements": ["Si"]}
    ).calculator()


def label(structures: Iterable[Atoms]) -> list[Atoms]:
    """Copies of ``structures`` with energy, forces and stress attached, as a file of DFT results would have them."""
    calculator = stillinger_weber()
    labelled = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = calculator
        results = {
            "energy": copy.get_potential_energy(),
            "forces": copy.get_forces(),
            "stress": copy.get_stress(),
        }
        copy.calc = SinglePointCalculator(copy, **results)
        labelled.append(copy)
    return labelled
