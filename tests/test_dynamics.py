"""`jaxff md` and `jaxff relax`: trajectories that go on where they were, and refuse to become something else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from jax_models import ConfigError, StructureError
from jaxff import JaxffCalculator
from jaxff.cli.app import app
from jaxff.dynamics import Run, run_dynamics

SILICON = Path(__file__).resolve().parents[1] / "lammps_examples" / "Si.jaxff"


def jaxff(*words):
    outcome = CliRunner().invoke(app, [str(word) for word in words])
    return outcome.exit_code, outcome.output, outcome.exception


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    path = tmp_path_factory.mktemp("crystal") / "Si.cif"
    write(path, bulk("Si", cubic=True))
    return path


def test_a_run_goes_on_where_it_was(tmp_path, crystal):
    command = ("md", SILICON, crystal, "--out", tmp_path / "md.traj", "--interval", 10, "--temperature", "300:600")
    assert jaxff(*command, "--steps", 25)[0] == 0
    first = read(tmp_path / "md.traj", ":")
    assert [frame.info["step"] for frame in first] == [0, 10, 20, 25]
    assert jaxff(*command, "--steps", 40)[0] == 0
    second = read(tmp_path / "md.traj", ":")
    assert [frame.info["step"] for frame in second] == [0, 10, 20, 25, 30, 40]
    np.testing.assert_array_equal(second[3].get_momenta(), first[3].get_momenta())
    log = [json.loads(line) for line in (tmp_path / "md.traj.log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [0, 10, 20, 25, 30, 40]
    assert log[-1]["potential_ev"] == pytest.approx(second[-1].get_potential_energy())
    assert (tmp_path / "md.traj.png").read_bytes().startswith(b"\x89PNG")
    # Another run does not end up in the same file.
    code, _, error = jaxff(*command, "--steps", 50, "--seed", 1)
    assert code == 1
    assert "holds a run with another seed" in str(error)


def test_constant_energy_and_constant_pressure(tmp_path, crystal):
    atoms, calculator = read(crystal), JaxffCalculator(SILICON)
    nve = run_dynamics(atoms, calculator, Run(100, ensemble="nve", temperature=(600.0, 600.0)), tmp_path / "e.traj")
    assert np.ptp(nve.column("total_ev")) < 2e-3
    assert np.ptp(nve.column("potential_ev")) > 0.02
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    npt = run_dynamics(atoms, calculator, Run(2000, 2.0, pressure=(0.0, 0.0)), tmp_path / "p.traj")
    at_rest = bulk("Si", cubic=True).get_volume()
    assert np.mean(npt.column("volume_a3")[-10:]) < 0.5 * (npt.column("volume_a3")[0] + at_rest)


def test_what_makes_no_sense_is_refused(tmp_path, crystal):
    with pytest.raises(ConfigError, match="neither a pressure"):
        Run(ensemble="nve", pressure=(0.0, 0.0))
    with pytest.raises(ConfigError, match="timestep is 0"):
        Run(timestep=0.0)
    assert "must end in .traj" in str(jaxff("md", SILICON, crystal, "--out", tmp_path / "md.xyz")[2])
    assert "it must be a number" in str(jaxff("md", SILICON, crystal, "--temperature", "hot")[2])
    (tmp_path / "other.traj").write_text("mine")
    assert "is not a trajectory of ASE" in str(jaxff("md", SILICON, crystal, "--out", tmp_path / "other.traj")[2])
    assert (tmp_path / "other.traj").read_text() == "mine"
    slab = bulk("Si", cubic=True)
    slab.pbc = (True, True, False)
    with pytest.raises(StructureError, match="constant pressure needs"):
        run_dynamics(slab, JaxffCalculator(SILICON), Run(1, pressure=(0.0, 0.0)), tmp_path / "slab.traj")


def test_a_relaxation_ends_in_the_minimum_and_goes_on(tmp_path):
    atoms = bulk("Si", cubic=True) * (1, 1, 2)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell * 1.03, scale_atoms=True)
    write(tmp_path / "start.xyz", atoms)
    command = ("relax", SILICON, tmp_path / "start.xyz", "--cell", "--out", tmp_path / "end.vasp")
    code, _, error = jaxff(*command, "--steps", 3)
    assert code == 1
    assert "after 3 steps" in str(error)
    assert not (tmp_path / "end.vasp").exists()
    code, output, _ = jaxff(*command)
    assert code == 0, output
    steps = [frame.info["step"] for frame in read(tmp_path / "end.vasp.traj", ":")]
    assert steps == list(range(len(steps)))
    relaxed, perfect = read(tmp_path / "end.vasp"), bulk("Si", cubic=True)
    relaxed.calc = perfect.calc = JaxffCalculator(SILICON)
    assert np.abs(relaxed.get_forces()).max() < 0.02
    assert abs(relaxed.get_potential_energy() / 16 - perfect.get_potential_energy() / 8) < 5e-3
    assert "ASE writes no structures" in str(jaxff(*command[:-1], tmp_path / "end.abc")[2])
