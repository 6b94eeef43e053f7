"""Writes pace_*.yace, small potentials with random coefficients, and pace_reference.json: what python-ace 0.4, the code
of LAMMPS's pair_style pace, says of them. It interpolates radial functions, here between points 0.0001 Å apart.
Run in tests/ where python-ace is installed: python data/make_pace_reference.py"""

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from pyace import ACEBBasisSet, PyACECalculator, create_multispecies_basis_config

HERE = Path(__file__).parent
GENERATOR = np.random.default_rng(3)


FS = "FinnisSinclairShiftedScaled"
CORE = {"rho_core_cut": 3.0, "drho_core_cut": 2.5}
CASES = {
    "shifted": dict(
        elements=["Al", "Ni"],
        embeddings={"npot": FS, "fs_parameters": [1, 1, 0.7, 0.5], "ndensity": 2, **CORE},
        bonds={
            **{
                "radbase": "ChebExpCos",
                "radparameters": [5.25],
                "rcut": 4.6,
                "dcut": 0.3,
                "NameOfCutoffFunction": "cos",
            },
            **{"core-repulsion": [12.0, 1.1], "r_in": 2.1, "delta_in": 0.7, "inner_cutoff_type": "distance"},
        },
        functions={"ALL": {"nradmax_by_orders": [4, 2, 2, 1], "lmax_by_orders": [0, 2, 1, 1]}},
    ),
    "bessel": dict(
        elements=["Si"],
        embeddings={"npot": "FinnisSinclair", "fs_parameters": [1, 1], "ndensity": 1},
        bonds={"radbase": "SBessel", "radparameters": [5.25], "rcut": 5.0, "dcut": 0.01, "NameOfCutoffFunction": "cos"},
        functions={"ALL": {"nradmax_by_orders": [5, 3, 2, 1, 1], "lmax_by_orders": [0, 3, 2, 1, 1]}},
    ),
    "power": dict(
        elements=["Cu"],
        embeddings={"npot": "FinnisSinclair", "fs_parameters": [1, 1, 1, 0.5, 0.8, 2], "ndensity": 3, **CORE},
        bonds={
            **{"radbase": "ChebPow", "radparameters": [2.0], "rcut": 4.8, "dcut": 0.01, "NameOfCutoffFunction": "cos"},
            **{"core-repulsion": [19.0, 0.8], "inner_cutoff_type": "density"},
        },
        functions={"ALL": {"nradmax_by_orders": [4, 2, 2], "lmax_by_orders": [0, 3, 2]}},
    ),
}


def structures(elements):
    cell = np.array([[3.4, 0.0, 0.0], [0.9, 3.3, 0.0], [-0.4, 0.7, 3.7]])
    fractions = np.array([[0, 0, 0], [0.52, 0.47, 0.06], [0.1, 0.45, 0.55]]) + GENERATOR.uniform(-0.02, 0.02, (3, 3))
    symbols = [elements[i % len(elements)] for i in range(4)]
    molecule = np.array([[0, 0, 0], [1.9, 0, 0.2], [-0.5, 2.3, 0], [0.3, -0.4, 2.6]])
    close = np.array([[0, 0, 0], [1.4, 0, 0.2], [-0.5, 1.7, 0], [0.3, -0.4, 1.9]])
    return {
        "sheared": (fractions @ cell, cell, True, symbols[:3]),
        "molecule": (molecule, np.zeros((3, 3)), False, symbols),
        "close": (close, np.zeros((3, 3)), False, symbols),
        "alone": (np.zeros((1, 3)), np.zeros((3, 3)), False, symbols[:1]),
    }


found = {}
for name, case in CASES.items():
    settings = {key: {"ALL": case[key]} for key in ("embeddings", "bonds")} | {"functions": case["functions"]}
    settings |= {"deltaSplineBins": 0.0001, "elements": case["elements"]}
    basis = ACEBBasisSet(create_multispecies_basis_config(settings))
    basis.all_coeffs = GENERATOR.normal(scale=0.08, size=len(basis.all_coeffs))
    path = HERE / f"pace_{name}.yace"
    basis.to_ACECTildeBasisSet().save_yaml(str(path))
    for structure, (positions, cell, periodic, symbols) in structures(case["elements"]).items():
        atoms = Atoms(symbols, positions, cell=cell, pbc=periodic, calculator=PyACECalculator(str(path)))
        result = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
        if periodic:
            result["stress"] = atoms.get_stress(voigt=False).tolist()
        given = {"positions": positions.tolist(), "cell": cell.tolist(), "periodic": periodic, "symbols": symbols}
        found[f"{name} {structure}"] = {"given": given, **result}
(HERE / "pace_reference.json").write_text(json.dumps(found, indent=0) + "\n")
print({key: value["energy"] for key, value in found.items()})
