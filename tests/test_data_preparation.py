"""Before training: wrong frames, keys and settings are named, copies stay together, and what will be done is said."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from training_data import emt_frames, emt_structures, labelled

from jax_models import DatasetError, JaxffError, Potential
from jax_models.training.data.duplicates import copies, equal_structures
from jax_models.training.data.split import split
from jax_models.training.data.structures import natural_cutoff, reference_energies
from jax_models.training.gradient.trainer import train
from jax_models.training.settings import Settings
from jaxff.cli.app import app
from jaxff.config import load_config, schema
from jaxff.io import read_structures, structure_of

SMALL = [
    "--set", "model.cutoff=4.2", "--set", "model.descriptor.n_channels=4", "--set", "model.descriptor.n_radial=4",
    "--set", "model.descriptor.l_max=1", "--set", "model.readout.hidden=[8]",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write("data.xyz", emt_frames(16))
    return tmp_path


def run(*arguments):
    app([*map(str, arguments)], standalone_mode=False)


def refused(*arguments):
    with pytest.raises(JaxffError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_frame_without_a_place_is_named_also_where_the_cutoff_follows_from_the_data(here):
    lines = Path("data.xyz").read_text().splitlines()
    atom = lines[2 * 6 + 3].split()  # a frame has a head of two lines and four atoms
    lines[2 * 6 + 3] = " ".join([atom[0], "nan", *atom[2:]])
    Path("nan.xyz").write_text("\n".join(lines) + "\n")
    assert "nan.xyz, frame 2: positions is not finite (first at atom 1)" in refused(
        "train", "nan.xyz", "--out", "x.jaxff"
    )
    with pytest.raises(DatasetError, match=r"nan.xyz, frame 2"):
        natural_cutoff(read_structures("nan.xyz"))


def test_equal_structures_are_found_wherever_their_atoms_were_wrapped():
    first, second, third = emt_frames(3)
    moved = first.copy()
    moved.positions[1] += moved.cell[0] - 2 * moved.cell[2]
    rounded = first.copy()
    rounded.positions = rounded.positions.round(4)
    displaced = first.copy()
    displaced.positions[3, 1] += 0.01
    frames = [first, second, moved, third, rounded, displaced]
    structures = [structure_of(labelled(atoms, energy=0.0), f"frame {n}") for n, atoms in enumerate(frames)]
    assert equal_structures(structures) == [[0, 2, 4], [1], [3], [5]]
    assert copies(structures[4:], structures[:3]) == [0]


def test_copies_are_not_in_training_and_validation_both():
    structures = emt_structures(24, alloy=False)
    repeated = structures * 4
    for seed in range(5):
        taken, held_out = split(repeated, 0.2, seed)
        assert len(held_out) >= 8
        assert not {s.name for s in taken} & {s.name for s in held_out}


def test_copies_are_counted(here, capsys):
    write("data.xyz", emt_frames(16) + emt_frames(5))
    write("valid.xyz", emt_frames(2))
    run("train", "data.xyz", "--valid", "valid.xyz", "--out", "x.jaxff", "--dry-run")
    said = capsys.readouterr().out
    assert "5 of 21 structures are copies of others (data.xyz, frame 0 and data.xyz, frame 16)" in said
    assert "2 of 2 validation structures are in the training data too" in said


def test_one_atom_without_periodicity_is_an_isolated_atom():
    dimer = labelled(Atoms("HO", [[0, 0, 0], [0, 0, 1.0]]), energy=-460.0, forces=np.zeros((2, 3)))
    alone = [labelled(Atoms("H"), energy=-13.57), labelled(Atoms("O"), energy=-430.0, forces=np.zeros((1, 3)))]
    crystal = labelled(Atoms("O", cell=[2, 2, 2], pbc=True), energy=-431.0, forces=np.zeros((1, 3)))
    structures = [structure_of(atoms, "frame") for atoms in (dimer, *alone, crystal)]
    assert [s.isolated for s in structures] == [False, True, True, False]
    assert reference_energies(structures, ["H", "O"]).tolist() == [-13.57, -430.0]


def test_isolated_atoms_in_the_file_are_the_references_of_the_potential(here):
    """Neither without forces nor with zero forces do they need a config_type."""
    frames = emt_frames(8)
    alone = [labelled(Atoms("Cu"), energy=-3.5), labelled(Atoms("Au"), energy=-4.5, forces=np.zeros((1, 3)))]
    write("all.traj", [*frames, *alone])
    run("train", "all.traj", "--out", "x.jaxff", "--epochs", 2, *SMALL)
    assert Potential.load("x.jaxff").reference_energies.tolist() == [-3.5, -4.5]


def test_isolated_atoms_do_not_make_the_forces_worse(shared_data):
    """The energies to learn are then those of atomisation, 4 eV an atom; forces must be learned as well as without."""
    folder = shared_data / "molecules"
    molecules, others = (
        [structure_of(atoms, f"{name} {n}") for n, atoms in enumerate(read(folder / name, part))]
        for name, part in (("ethanol_train.xyz.xz", ":40"), ("ethanol_test_MD.xyz.xz", ":30"))
    )
    alone = read_structures(folder / "ethanol_isolated_atoms.xyz.xz")
    architecture = {
        "descriptor": {"name": "ace", "n_channels": 8, "n_radial": 6, "l_max": 2, "body_order": 3},
        "readout": {"name": "mlp", "hidden": [16]},
    }
    errors = []
    for structures in (molecules, [*molecules, *alone]):
        potential = train(structures, architecture, 5.0, Settings(epochs=20), validation=others).potential
        errors.append(potential.provenance["metrics"]["validation"]["force_rmse"])
    assert errors[1] < 1.1 * errors[0]
    expected = {s.symbols[0]: s.energy for s in alone}
    assert potential.reference_energies.tolist() == [expected[e] for e in ("H", "C", "O")]


def test_too_few_structures_to_hold_any_out_is_said_everywhere(here, capsys):
    write("few.xyz", emt_frames(6))
    run("train", "few.xyz", "--out", "x.jaxff", "--epochs", 2, *SMALL)
    said = capsys.readouterr().out
    assert "warning: nothing is held out" in said
    assert "training (nothing held out)" in said
    assert "validation " not in said.split("nothing is held out")[1].split("--valid")[1].replace(
        "training.validation_fraction", ""
    )
    records = [json.loads(line) for line in Path("x.jaxff.log.jsonl").read_text().splitlines()]
    assert all(r["validation"] == {} and r["averaged"]["energy_rmse"] > 0 for r in records)
    assert "nothing was held out" in said


def test_a_wrong_key_of_forces_is_refused_and_missing_forces_are_said(here, capsys):
    frames = emt_frames(8)
    for atoms in frames:
        atoms.info.pop("config_type")
        atoms.arrays["my_labels"] = atoms.get_forces()
        atoms.calc.results.pop("forces")
    write("renamed.xyz", frames)
    run("train", "renamed.xyz", "--out", "x.jaxff", "--dry-run")
    said = capsys.readouterr().out
    assert "warning: no frame has forces" in said and "my_labels" in said
    text = refused("train", "renamed.xyz", "--out", "x.jaxff", "--set", "data.forces_key=my_label")
    assert "data.forces_key is 'my_label', but no frame has that" in text and "did you mean my_labels?" in text
    run("train", "renamed.xyz", "--out", "x.jaxff", "--dry-run", "--set", "data.forces_key=my_labels")
    assert "8 with forces" in capsys.readouterr().out
    assert "stres" in refused("train", "data.xyz", "--out", "x.jaxff", "--set", "data.stress_key=stres")
    Path("t.yaml").write_text("teachers: [{name: emt, ase: emt.EMT}]")
    text = refused("label", "data.xyz", "--teachers", "t.yaml", "--out", "o.xyz", "--energy-key", "energie")
    assert "--energy-key is 'energie'" in text


def test_a_cutoff_that_does_not_fit_into_the_memory_is_refused(here):
    started = time.monotonic()
    text = refused("train", "data.xyz", "--out", "x.jaxff", "--set", "model.cutoff=500")
    assert "model.cutoff is 500 Å" in text and "Å would fit" in text and "GiB" in text
    text = refused("train", "data.xyz", "--out", "x.jaxff", "--set", "training.batch_structures=100000000")
    assert "training.batch_structures is 100000000" in text
    assert time.monotonic() - started < 60


def test_a_wrong_architecture_is_refused_before_the_data_are_read(here):
    for setting, message in (
        ("model.descriptor.l_maxx=2", "has no setting l_maxx; it has body_order, l_max, n_channels, n_radial; did you"),
        ("model.descriptor.l_max=99", "l_max is 99; it must be between 0 and 6"),
        ("model.cutof=5", "there is no setting model.cutof; there are cutoff, name"),
        ("model.readout.name=mpl", "unknown readout 'mpl'; choose from linear, mlp; did you mean mlp?"),
        ("model.reference_points=bond", "unknown reference points 'bond'; choose from atoms, bonds, grid; did you"),
        ("model.priors=[{name: zlb}]", "unknown prior 'zlb'"),
        ("training.learning_rat=1", "did you mean learning_rate?"),
    ):
        assert message in refused("train", "absent.xyz", "--out", "x.jaxff", "--set", setting)
    assert "did you mean ace?" in refused("train", "absent.xyz", "--out", "x.jaxff", "--model", "acee")
    assert "no setting n_atoms_basis" in refused(
        "train", "absent.xyz", "--out", "x.jaxff", "--model", "painn", "--set", "model.n_atoms_basis=3"
    )
    assert "the readout mlp" in refused(
        "train", "absent.xyz", "--out", "x.jaxff", "--set", "training.method=linear", "--set", "model.readout.name=MLP"
    )


def test_names_may_be_in_capitals(here, capsys):
    assert load_config(model="ACE").model.architecture() == {"descriptor": {"name": "ace"}}
    assert load_config(model="PaiNN").model.architecture() == {"name": "painn"}
    overrides = ["model.descriptor.name=SOAP", "model.readout.name=MLP", "reference_points=Bonds"]
    architecture = load_config(overrides=overrides).model.architecture()
    assert architecture["descriptor"]["name"] == "soap" and architecture["readout"]["name"] == "mlp"
    assert architecture["reference_points"]["name"] == "bonds"
    run("describe", "data.xyz", "--descriptor", "SOAP", "--set", "r_cut=4", "--set", "n_max=2", "--out", "f.npz")
    assert Path("f.npz").exists()
    text = refused("describe", "data.xyz", "--descriptor", "soup", "--out", "g.npz")
    assert "unknown descriptor 'soup'; choose from ace" in text and "did you mean soap?" in text


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(here, capsys):
    before = sorted(path.name for path in here.iterdir())
    run("train", "data.xyz", "--out", "x.jaxff", "--dry-run", "--set", "training.validation_fraction=0.25", *SMALL)
    said = capsys.readouterr().out
    for part in ("Cu, Au", "12 to train on", "4 structures", "4.2 Å", "n_channels", "parameters", "GiB", "min"):
        assert part in said
    assert sorted(path.name for path in here.iterdir()) == before
    run("train", "data.xyz", "--out", "x.jaxff", "--epochs", 1, *SMALL)
    run("info", "x.jaxff", "--json", "info.json")
    counted = json.loads(Path("info.json").read_text())["n_parameters"]
    assert f"{counted:,}" in said
    run("train", "data.xyz", "--from", "x.jaxff", "--out", "y.jaxff", "--dry-run")
    assert f"{counted:,}" in capsys.readouterr().out


def test_suspicious_labels_are_said_before_training(here, capsys):
    frames = emt_frames(16)
    frames[5].calc.results["forces"] = np.zeros((4, 3))
    write("zero.traj", frames)
    run("train", "zero.traj", "--out", "x.jaxff", "--dry-run")
    assert "forces that are all exactly zero" in (said := capsys.readouterr().out) and "zero.traj, frame 5" in said


def fits(value, rule):
    """Whether ``value`` meets the part of JSON schema that the configuration's uses."""
    if "anyOf" in rule:
        return any(fits(value, option) for option in rule["anyOf"])
    if "const" in rule:
        return value == rule["const"]
    if "enum" in rule:
        return value in rule["enum"]
    kinds = {"object": dict, "array": list, "null": type(None), "string": str, "integer": int, "boolean": bool}
    kinds["number"] = (int, float)
    if "type" in rule and not isinstance(value, kinds[rule["type"]]):
        return False
    if isinstance(value, dict) and "properties" in rule:
        known = rule["properties"]
        if not set(rule.get("required", ())) <= set(value):
            return False
        if rule.get("additionalProperties", True) is False and set(value) - set(known):
            return False
        return all(fits(part, known[key]) for key, part in value.items() if key in known)
    if isinstance(value, list) and "items" in rule:
        return all(fits(part, rule["items"]) for part in value)
    return True


def test_the_schema_knows_descriptors_and_networks_and_their_settings():
    from jax_models.descriptors import DESCRIPTORS
    from jax_models.message_passing import MESSAGE_PASSING

    model = schema()["$defs"]["ModelConfig"]
    for name, kind in DESCRIPTORS.items():
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in kind.defaults.items()}
        assert fits({"cutoff": 5.0, "descriptor": {"name": name, **settings}}, model)
    for name, kind in MESSAGE_PASSING.items():
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in kind.defaults.items()}
        assert fits({"name": name, **settings, "priors": [{"name": "zbl", "outer": 1.2}]}, model)
    assert fits({"priors": [{"name": "zbl", "inner": {"Si-O": 1.0}, "outer": 1.2}]}, model)
    assert fits({"priors": None}, model)
    assert fits({"descriptor": {"l_max": 2}, "readout": {"hidden": [8, 8]}, "reference_points": "bonds"}, model)
    for wrong in (
        {"descriptor": {"name": "ace", "l_maxx": 2}},
        {"descriptor": {"name": "acee"}},
        {"descriptor": {"name": "ace", "l_max": "two"}},
        {"cutof": 5.0},
        {"name": "painn", "n_max": 3},
        {"priors": [{"name": "zbl", "innner": 1.0}]},
        {"priors": [{"name": "zbl", "outer": "far"}]},
        {"readout": {"name": "linear", "hidden": [8]}},
    ):
        assert not fits(wrong, model), wrong
    import yaml

    from jaxff.config import default_yaml

    assert fits(yaml.safe_load(default_yaml())["model"], model)


def test_help_of_lmp_is_ours_and_h_is_that_of_lammps(capfd, monkeypatch):
    import subprocess

    command = [sys.executable, "-m", "jaxff.cli.app", "lmp"]
    ours = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=120)
    assert ours.returncode == 0 and "jaxff lmp -h" in ours.stdout and "mpirun" in ours.stdout
    theirs = subprocess.run([*command, "-h"], capture_output=True, text=True, timeout=120)
    assert "List of command-line options" in theirs.stdout or "Usage example: " in theirs.stdout


def test_many_compressed_frames_are_read_once(tmp_path):
    """ASE seeks back to each frame, and a seek in a compressed file unpacks all of it again."""
    write(tmp_path / "many.xyz.xz", [bulk("Cu", a=3.6, cubic=True) * (3, 3, 3)] * 300, format="extxyz")
    from jaxff.io import read_frames

    started = time.monotonic()
    assert len(read_frames(tmp_path / "many.xyz.xz")) == 300
    assert time.monotonic() - started < 15
