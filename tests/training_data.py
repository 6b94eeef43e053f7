"""Small labelled data sets, made on the spot with ASE's own potentials."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from jaxff.io import structure_of

TINY = {
    "descriptor": {"name": "ace", "n_channels": 4, "n_radial": 4, "l_max": 1, "body_order": 3},
    "readout": {"name": "mlp", "hidden": [8]},
}


def emt_frames(n=16, alloy=True, seed=0):
    """Rattled, strained fcc cells of 4 atoms of Cu and Au, with energies, forces and stresses from EMT."""
    generator = np.random.default_rng(seed)
    frames = []
    for number in range(n):
        atoms = bulk("Cu", a=3.8, cubic=True)
        if alloy:
            atoms.symbols[: number % 4] = "Au"
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + generator.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, seed=100 * seed + number)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        frames.append(labelled(atoms, **labels))
        frames[-1].info["config_type"] = "strained" if number % 2 else "rattled"
    return frames


def labelled(atoms, **labels):
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **labels)
    return copy


def emt_structures(n=16, alloy=True, seed=0):
    return [structure_of(atoms, f"frame {i}") for i, atoms in enumerate(emt_frames(n, alloy, seed))]
