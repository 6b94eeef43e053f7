"""Networks in LAMMPS: messages exchanged between ranks, and the deep halo, both give what Potential.evaluate gives."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from lammps_runs import BAR, EVALUATE, read_evaluation, run_lammps, write_data
from message_passing_potentials import message_passing_potential
from test_lammps import CUBE, SKEW, Case

from jaxff import JaxffCalculator

CASES = [
    Case("cube", CUBE, 40),
    Case("newton_off", CUBE, 40, newton="off"),
    Case("triclinic", SKEW, 40, seed=2),
    Case("tiny", np.diag([3.0, 3.2, 3.4]), 1, seed=3),
    Case("cluster", np.diag([40.0, 12.0, 12.0]), 20, boundary="f f f", box=np.diag([9.0, 10.0, 10.0]), seed=5),
]
"""The cluster leaves ranks without atoms; the cells of all but it are smaller than the halo."""
CASES_ON = {1: ("cube", "newton_off", "tiny"), 2: ("triclinic", "newton_off"), 4: ("triclinic", "cluster")}
POTENTIALS = {
    "schnet1": ("schnet", {"n_interactions": 1}),
    "schnet4": ("schnet", {"n_interactions": 4}),
    "painn3": ("painn", {"n_interactions": 3}),
    "nequip2": ("nequip", {"num_layers": 2, "hidden_irreps": "3x0e + 2x1o", "l_max": 1}),
    "mace2": ("mace", {"num_interactions": 2, "hidden_irreps": "3x0e + 3x1o", "max_ell": 1, "correlation": 2}),
    "tensornet2": ("tensornet", {"nblocks": 1, "units": 4}),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    expected = {}
    for case in CASES:
        write_data(folder / f"{case.name}.data", case.positions, case.cell, case.types, 2)
    for name, (architecture, settings) in POTENTIALS.items():
        potential = message_passing_potential(architecture, cutoff=3.3, **settings)
        potential.save(folder / f"{name}.jaxff")
        calculator = JaxffCalculator(potential, precision="double")
        for case in CASES:
            atoms = Atoms(case.symbols, case.positions, cell=case.cell, pbc=case.periodic)
            calculator.calculate(atoms, properties=("stresses",))
            expected[name, case.name] = calculator.results | {"volume": atoms.get_volume()}
    return folder, expected


@pytest.mark.parametrize("ranks", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(POTENTIALS))
def test_same_numbers_by_exchange_and_on_the_halo(prepared, name, ranks):
    folder, expected = prepared
    cases = [c for c in CASES if c.name in CASES_ON[ranks]]
    for exchange in ("comm", "halo"):
        pair = f"pair_style jaxff precision double exchange {exchange}\npair_coeff * * {name}.jaxff Si O"
        held = [c for c in cases if c.newton == "on" or exchange == "comm"]
        script = "".join(
            EVALUATE.format(name=c.name, boundary=c.boundary, newton=c.newton, processors=f"{ranks} 1 1", pair=pair)
            for c in held
        )
        output = run_lammps(script, folder, ranks).output
        if int(name[-1]) > 1:
            assert f"exchange {exchange}" in output
        for case in held:
            found, plain = read_evaluation(folder, case.name), expected[name, case.name]
            assert np.abs(found["energies"] - plain["energies"]).max() < 1e-9
            assert found["energy"] == pytest.approx(plain["energy"], abs=1e-9 * len(case.positions))
            assert np.abs(found["forces"] - plain["forces"]).max() < 1e-8
            virials = plain["volume"] * plain["stresses"]
            assert np.abs(found["virials"][:, [0, 1, 2]] - virials[:, [0, 1, 2]]).max() < 1e-8
            total = full_3x3_to_voigt_6_stress(-found["pressure"] * plain["volume"] / BAR)
            assert np.abs(total - virials.sum(axis=0)).max() < 1e-6
            centroid = found["centroid_virials"].sum(axis=0)
            assert np.abs(centroid[:3] - virials.sum(axis=0)[:3]).max() < 1e-6
