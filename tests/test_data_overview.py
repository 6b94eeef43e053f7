"""`jaxff data`: facts that are right, and each thing that is wrong named before a training finds it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from training_data import emt_frames, labelled
from typer.testing import CliRunner

from jax_models import DatasetError
from jaxff.cli.app import app
from jaxff.data_overview import data_overview, shortest_distances
from jaxff.io import Labels


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path


def invoke(*words):
    return CliRunner().invoke(app, ["data", *map(str, words)])


def calm_frames(n=12):
    """Cells of copper and gold near equilibrium: nothing in them is odd."""
    generator, frames = np.random.default_rng(0), []
    for number in range(n):
        atoms = bulk("Cu", a=3.62, cubic=True)
        if number % 2:
            atoms.symbols[0], scale = "Au", 1.02
        else:
            scale = 1.0
        atoms.set_cell(atoms.cell.array * (scale + generator.normal(scale=0.004)), scale_atoms=True)
        atoms.rattle(0.05, seed=number)
        atoms.calc = EMT()
        given = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        frames.append(labelled(atoms, **given))
        frames[-1].info["config_type"] = "strained" if number % 4 > 1 else "rattled"
    return frames


def test_ranges_names_and_files():
    frames = calm_frames()
    write("a.traj", frames[:8])
    write("b.xyz", [renamed(atoms) for atoms in frames[8:]])
    done = invoke("a.traj", "b.xyz", "--json", "o.json", "--plot", "o.png")
    assert done.exit_code == 0, done.output
    assert "note: b.xyz: no energy, forces of the usual name; taken are REF_energy, REF_forces" in done.output
    assert "REF_energy 4" in done.output and "ok: nothing looks wrong" in done.output
    found = json.loads(Path("o.json").read_text())
    assert (found["structures"], found["atoms"], found["elements"]) == (12, 48, {"Cu": 42, "Au": 6})
    energies = [atoms.get_potential_energy() / 4 for atoms in frames]
    assert found["energy_ev_per_atom"]["min"] == pytest.approx(min(energies), abs=1e-6)
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    assert found["force_ev_per_angstrom"]["max"] == pytest.approx(np.linalg.norm(forces, axis=1).max(), abs=1e-6)
    assert found["config_type"]["strained"]["structures"] == 6
    pressures = [-np.trace(atoms.get_stress(voigt=False)) / 3 / 0.00624150913 for atoms in frames[:8]]
    assert found["pressure_gpa"]["max"] == pytest.approx(max(pressures), rel=1e-4)
    assert found["files"][1]["labels"]["forces"] == {"name": "REF_forces", "frames": 4}
    assert found["problems"] == found["suspicions"] == found["copies"] == []
    assert Path("o.png").read_bytes().startswith(b"\x89PNG")


def renamed(atoms):
    copy = atoms.copy()
    copy.info["REF_energy"] = atoms.get_potential_energy()
    copy.arrays["REF_forces"] = atoms.get_forces()
    return copy


def test_every_frame_that_training_refuses_is_named():
    frames = emt_frames(10)
    frames[2].calc.results["forces"][1, 1] = np.nan
    frames[4].calc.results["forces"][1, 0] = np.nan
    del frames[6].calc.results["energy"]
    frames[7].calc.results["energy"] = np.inf
    write("bad.traj", [*frames, frames[3]])
    overview = data_overview(["bad.traj"])
    problems = {p.text.split(";")[0].split(":")[0]: p.frames for p in overview.problems}
    assert problems["forces is not finite (first at atom 1)"] == ("bad.traj, frame 2", "bad.traj, frame 4")
    assert problems["energy is not finite"] == ("bad.traj, frame 7",)
    assert problems["no energy"] == ("bad.traj, frame 6",)
    assert overview.copies == [("bad.traj, frame 3", "bad.traj, frame 10")]
    done = invoke("bad.traj", "--json", "bad.json", "--plot", "bad.png")
    assert done.exit_code == 0, done.output
    assert done.output.count("refused in training:") >= 3
    assert "1 of 11 are copies of others (bad.traj, frame 3 and bad.traj, frame 10)" in done.output
    json.loads(Path("bad.json").read_text())


def test_some_frames_with_forces_and_some_without():
    frames = emt_frames(4)
    del frames[1].calc.results["forces"]
    write("mixed.traj", frames)
    assert "has no forces, but" in str(data_overview(["mixed.traj"]).problems[0])


@pytest.mark.parametrize(
    "what, factor, said",
    [
        ("forces", 23.0605, "kcal/mol"),
        ("forces", -1.0, "wrong sign"),
        ("stress", -1.0, "stresses have the wrong sign"),
        ("stress", 1602.2, "kbar"),
        ("stress", -1602.2, "its sign is wrong"),
    ],
)
def test_units_and_signs(shared_data, what, factor, said):
    """As files have them: forces of another code, stresses as VASP prints them."""
    frames = read(shared_data / "mlearn/Si_train.xyz.xz", "::2")
    for atoms in frames:
        atoms.calc.results[what] = factor * np.array(atoms.calc.results[what])
    write("si.traj", frames)
    assert said in invoke("si.traj").output


def test_a_virial_of_the_other_sign_is_found(shared_data):
    frames = read(shared_data / "mlearn/Si_train.xyz.xz", "::2")
    for atoms in frames:
        atoms.info["virial"] = np.array(atoms.get_stress(voigt=False)) * atoms.get_volume()
        del atoms.calc.results["stress"]
        atoms.info.pop("stress", None)
    write("si.xyz", frames)
    assert "wrong sign" in invoke("si.xyz").output


def test_an_outlier_is_named():
    frames = calm_frames(30)
    frames[17].calc.results["energy"] += 10.0
    write("a.traj", frames)
    assert [s.frames for s in data_overview(["a.traj"]).suspicions] == [("a.traj, frame 17",)]


def test_a_free_energy_apart_from_the_energy_is_said():
    """Forces of smeared electrons are derivatives of the free energy."""
    frames = calm_frames(4)
    for atoms in frames:
        atoms.calc.results["free_energy"] = atoms.calc.results["energy"] - 0.02
    write("a.traj", frames)
    assert "take it by data.energy_key=free_energy" in invoke("a.traj").output
    assert "nothing looks wrong" in invoke("a.traj", "--energy-key", "free_energy").output


def test_structures_without_labels():
    write("bare.xyz", [atoms.copy() for atoms in emt_frames(3)])
    done = invoke("bare.xyz", "--plot", "p.svg", "--json", "p.json")
    assert done.exit_code == 0, done.output
    assert "refused in training: no energy" in done.output
    assert json.loads(Path("p.json").read_text())["energy_ev_per_atom"] is None


def test_shortest_distances_of_each_pair():
    overview = data_overview([write_and_name("h.xyz", Atoms("OH", [[0, 0, 0], [0, 0, 0.9]], info={"energy": 1.0}))])
    assert shortest_distances(overview.structures) == {"H-O": (pytest.approx(0.9), "h.xyz, frame 0")}


def write_and_name(name, atoms):
    write(name, atoms)
    return name


def test_mistakes_are_refused():
    write("a.traj", emt_frames(3))
    with pytest.raises(DatasetError, match="--forces-key is 'force'.*did you mean forces"):
        data_overview(["a.traj"], Labels(forces_key="force"))
    assert "would write over" in str(invoke("a.traj", "--json", "a.traj").exception)
    assert "its ending must be" in str(invoke("a.traj", "--plot", "a.txt").exception)
    assert "there is no file" in str(invoke("none.xyz").exception)
