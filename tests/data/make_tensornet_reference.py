"""Makes tensornet_reference.json: what matgl 2.0.6 itself gives in double precision, for test_import_tensornet.py.

    pip install matgl==2.0.6 (with PyTorch Geometric)
    python make_tensornet_reference.py FOLDER    # with the TensorNet-MatPES files

matgl 3 and 4 evaluate these files with another convention, and say so; version 2 is what they were trained with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import atomic_numbers
from ase.spacegroup import crystal

FUNCTIONALS = ("PBE", "r2SCAN")


def structures() -> dict[str, Atoms]:
    def rattled(atoms: Atoms, size: float, seed: int) -> Atoms:
        atoms = Atoms(atoms.get_chemical_symbols(), atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        atoms.rattle(size, seed=seed)
        return atoms

    salt = rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True), 0.1, 2)
    salt.set_cell(salt.cell @ (np.eye(3) + [[0, 0.03, 0], [0, 0, 0.02], [0.01, 0, 0]]), scale_atoms=True)
    slab = rattled(fcc111("Cu", (2, 2, 3), vacuum=8.0), 0.05, 3)
    slab.pbc = True
    perovskite = crystal(
        ["Sr", "Ti", "O"], [(0, 0, 0), (0.5,) * 3, (0.5, 0.5, 0)], spacegroup=221, cellpar=[3.9, 3.9, 3.9, 90, 90, 90]
    )
    oxide = bulk("MgO", "rocksalt", a=4.24, cubic=True)
    oxide.set_chemical_symbols(["Mg", "O", "Co", "O", "Ni", "O", "Zn", "O"])
    alloy = bulk("Ni", "fcc", a=3.6, cubic=True).repeat((2, 2, 1))
    alloy.set_chemical_symbols(np.random.default_rng(7).choice(["Cr", "Mn", "Fe", "Co", "Ni"], len(alloy)).tolist())
    return {
        "Si": rattled(bulk("Si", cubic=True), 0.1, 1),
        "sheared NaCl": salt,
        "Cu slab": slab,
        "ethanol": rattled(molecule("CH3CH2OH"), 0.05, 4),
        "SrTiO3": rattled(perovskite, 0.05, 5),
        "isolated atom": Atoms("Fe", [[0, 0, 0]]),
        "one atom in a cell": bulk("Al", "fcc", a=4.0),
        "five elements in an oxide": rattled(oxide, 0.1, 6),
        "random alloy": rattled(alloy, 0.1, 7),
    }


def main(folder: Path) -> None:
    import matgl
    import torch

    matgl.set_default_dtype("float", 64)
    from matgl.apps.pes import Potential
    from matgl.ext.ase import PESCalculator
    from matgl.models import TensorNet

    found: dict = {"matgl": matgl.__version__, "structures": {}, "pairs": {}}
    for name, atoms in structures().items():
        found["structures"][name] = {
            "symbols": atoms.get_chemical_symbols(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "periodic": bool(atoms.pbc.all()),
        }
    for functional in FUNCTIONALS:
        files = folder / f"TensorNet-MatPES-{functional}-v2025.1."
        settings = json.loads(Path(f"{files}model.json").read_text())["kwargs"]["model"]["init_args"]
        state = torch.load(f"{files}state.pt", map_location="cpu", weights_only=True)
        network = TensorNet(**settings | {"dtype": torch.float64})
        potential = Potential(network, state["data_mean"], state["data_std"], state["element_refs.property_offset"])
        potential.load_state_dict(state, strict=False)
        calculator = PESCalculator(potential.double(), stress_unit="eV/A3")
        for name, atoms in structures().items():
            atoms.calc = calculator
            values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
            if atoms.pbc.all():
                values["stress"] = np.asarray(calculator.results["stress"]).reshape(3, 3).tolist()
            found["structures"][name][functional] = values
        pairs = []
        for element in settings["element_types"]:
            atoms = Atoms([element, "O"], [[0, 0, 0], [0, 0.6, 2.0]])
            atoms.calc = calculator
            pairs.append(atoms.get_potential_energy())
        found["pairs"][functional] = pairs
        found["elements"] = sorted(settings["element_types"], key=atomic_numbers.get)
    Path(__file__).with_name("tensornet_reference.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
