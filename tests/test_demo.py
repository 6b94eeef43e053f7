"""`jaxff demo` gives, in one command, a potential that stands in for the one that made its data, in ASE and in
LAMMPS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    from jaxff.lammps.entry import find_plugin

    if find_plugin() is None:
        pytest.skip("the LAMMPS plugin is not built: pip install .")
    folder = tmp_path_factory.mktemp("demo")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugin")]))
    command = [sys.executable, "-m", "jaxff.cli.app", "demo", "--out", "out"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out", done.stdout, environment


def test_it_tells_what_it_does_and_leaves_it_behind(demo):
    folder, output, _ = demo
    for n in range(1, 8):
        assert f"{n}/7 " in output
    assert "vacancy hop barrier" in output
    left = {path.name for path in folder.iterdir()}
    assert left >= {
        "train.xyz",
        "test.xyz",
        "si.jaxff",
        "si.jaxff.training.png",
        "in.nve",
        "silicon.data",
        "parity.png",
        "nve.png",
        "barrier.png",
        "summary.md",
        "summary.json",
    }
    assert "| vacancy hop barrier (eV) |" in (folder / "summary.md").read_text()


def test_the_potential_stands_in_for_its_reference(demo):
    data = json.loads((demo[0] / "summary.json").read_text())

    def off(key):
        return abs(data[key]["jaxff"] - data[key]["stillinger_weber"])

    assert off("lattice_constant_angstrom") < 0.005
    assert off("bulk_modulus_gpa") < 5
    assert off("c11_gpa") < 8
    assert off("c44_gpa") < 8
    assert off("vacancy_hop_ev") < 0.06
    assert off("vibrational_energy_300k_mev_per_atom") < 1
    assert data["test_errors"]["energy_rmse_mev_per_atom"] < 1.5
    assert data["test_errors"]["force_rmse_ev_per_angstrom"] < 0.08
    assert 140 < data["c11_gpa"]["stillinger_weber"] < 160  # the reference itself is what it should be


def test_ase_and_lammps_run_the_same_file(demo):
    nve = json.loads((demo[0] / "summary.json").read_text())["nve"]
    assert nve["ase_lammps_first_energy_difference_ev_per_atom"] < 1e-9
    assert nve["ase_lammps_largest_total_energy_difference_ev_per_atom"] < 1e-6
    assert nve["total_energy_range_mev_per_atom"] < 0.5


def test_the_input_script_runs_again(demo):
    folder, _, environment = demo
    before = (folder / "log.lammps").read_text().split("Step")[1].splitlines()[1]
    command = [sys.executable, "-m", "jaxff.cli.app", "lmp", "-in", "in.nve", "-log", "again.log", "-screen", "none"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    assert (folder / "again.log").read_text().split("Step")[1].splitlines()[1] == before
