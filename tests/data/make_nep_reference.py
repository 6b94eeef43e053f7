"""Writes nep_reference.json: what calorine 4.1 (NEP_CPU, in double) says of the files and structures of nep_files.py.
Run in tests/ where calorine is installed: python data/make_nep_reference.py"""

import json
import sys
import tempfile
from pathlib import Path

import _nepy  # calorine's extension: its Python layer takes NEP4 alone
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from nep_files import CASES, nep_text, structures

found = {}
for name, case in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nep.txt"
        path.write_text(nep_text(**case))
        for structure, (positions, cell, _, symbols) in structures(case["elements"]).items():
            box, flat = cell.T.ravel().tolist(), positions.T.ravel().tolist()
            code = _nepy.NEPY(str(path), len(symbols), box, symbols, flat, [1.0] * len(symbols))
            energies, forces, virials = map(np.array, code.get_potential_forces_and_virials())
            found[f"{name} {structure}"] = {
                "energies": energies.tolist(),
                "forces": forces.reshape(3, -1).T.tolist(),
                "virial": (-virials.reshape(9, -1).sum(axis=1).reshape(3, 3)).tolist(),
            }
Path(__file__).with_name("nep_reference.json").write_text(json.dumps(found, indent=0) + "\n")
print({k: np.sum(v["energies"]) for k, v in found.items()})
