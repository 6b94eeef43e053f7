"""Imported potentials in LAMMPS: one, two and three ranks give what Potential.evaluate gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lammps_runs import EVALUATE, read_evaluation, run_lammps, write_data
from nep_files import CASES, nep_text
from test_lammps import SKEW, Case

from jax_models.imports import potential_from_file

DATA = Path(__file__).parent / "data"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nep", "pace", "mace"])
def test_lammps_gives_the_same_numbers(tmp_path, name):
    (tmp_path / "nep.txt").write_text(nep_text(**CASES["nep3_zbl"]))
    files = {"nep": tmp_path / "nep.txt", "pace": DATA / "pace_shifted.yace", "mace": DATA / "mace_density.safetensors"}
    potential = potential_from_file(files[name])
    potential.save(tmp_path / "imported.jaxff")
    case = Case("triclinic", SKEW, 40, seed=2)
    symbols = [potential.elements[t - 1] for t in case.types]
    write_data(tmp_path / "triclinic.data", case.positions, case.cell, case.types, 2)
    expected = potential.evaluate(case.positions, case.cell, True, symbols)
    for exchange in ("auto", "halo") if name == "mace" else ("",):
        option = f"exchange {exchange}" if exchange else ""
        pair = (
            f"pair_style jaxff precision double {option}\npair_coeff * * imported.jaxff {' '.join(potential.elements)}"
        )
        for ranks in (1, 2, 3):
            processors = f"{ranks} 1 1"
            script = EVALUATE.format(name="triclinic", boundary="p p p", newton="on", processors=processors, pair=pair)
            run_lammps(script, tmp_path, ranks)
            found = read_evaluation(tmp_path, "triclinic")
            assert np.abs(found["energies"] - expected["energies"]).max() < 1e-9
            assert np.abs(found["forces"] - expected["forces"]).max() < 1e-8
            assert np.abs(found["centroid_virials"].sum(axis=0)[:3] - np.diag(expected["virial"])).max() < 1e-6
