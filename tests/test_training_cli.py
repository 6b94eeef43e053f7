"""`jaxff train` and `jaxff config`: from a file to a file, and one readable line for what cannot be trained on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.io import read, write
from training_data import emt_frames, labelled

from jax_models import ConfigError, DatasetError, JaxffError, Potential
from jax_models.training.data.structures import check, elements_of, reference_energies
from jax_models.training.settings import Settings
from jaxff import JaxffCalculator
from jaxff.cli.app import app
from jaxff.config import Config, default_yaml, load_config, schema
from jaxff.io import Labels, read_structures, structure_of

SMALL = [
    "--set", "model.cutoff=4.2", "--set", "model.descriptor.n_channels=4", "--set", "model.descriptor.n_radial=4",
    "--set", "model.descriptor.l_max=1", "--set", "model.readout.hidden=[8]",
]  # fmt: skip


def jaxff(*arguments, folder):
    command = [sys.executable, "-m", "jaxff.cli.app", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def frames():
    return emt_frames()


def test_train_writes_potential_log_and_plot(frames, tmp_path):
    write(tmp_path / "cuau.xyz", frames)
    done = jaxff("train", "cuau.xyz", "--out", "cuau.jaxff", "--epochs", 4, "--seed", 3, *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "16 structures, 64 atoms; 16 with forces, 16 with a stress" in done.stdout
    potential = Potential.load(tmp_path / "cuau.jaxff")
    assert potential.elements == ("Cu", "Au")
    assert potential.cutoff == 4.2
    origin = potential.provenance
    assert origin["settings"]["seed"] == 3
    assert list(origin["data"]) == ["cuau.xyz"]
    assert {"jax", "python"} <= set(origin["versions"])
    # The file names its settings in full: a later change of defaults must not change it.
    assert potential.architecture["descriptor"]["body_order"] == 4
    records = [json.loads(line) for line in (tmp_path / "cuau.jaxff.log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3, 4]
    assert {"train", "validation", "learning_rate", "loss"} <= set(records[0])
    assert (tmp_path / "cuau.jaxff.training.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "cuau.jaxff.checkpoint").exists()
    atoms = read(tmp_path / "cuau.xyz", 0)
    atoms.calc = JaxffCalculator(tmp_path / "cuau.jaxff")
    assert np.isfinite(atoms.get_potential_energy())
    again = jaxff("train", "cuau.xyz", "--out", "again.jaxff", "--epochs", 4, "--seed", 3, *SMALL, folder=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "again.jaxff").read_bytes() == (tmp_path / "cuau.jaxff").read_bytes()


def test_killed_training_goes_on_where_it_was(frames, tmp_path):
    write(tmp_path / "cuau.xyz", frames)
    arguments = ["train", "cuau.xyz", "--epochs", 1000, "--set", "training.patience=1", *SMALL]
    whole = jaxff(*arguments, "--out", "whole.jaxff", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "jaxff.cli.app", *map(str, arguments), "--out", "part.jaxff"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "part.jaxff.log.jsonl"
    while not log.exists() or log.read_text().count("\n") < 50:
        assert process.poll() is None
        time.sleep(0.02)
    # Python drops an interrupt that falls into a finalizer: as a person would, press again.
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            break
    assert process.returncode not in (0, None)
    assert not (tmp_path / "part.jaxff").exists()
    done = log.read_text().count("\n")
    resumed = jaxff(*arguments, "--out", "part.jaxff", folder=tmp_path)
    assert "resuming" in resumed.stdout
    assert 50 <= done < log.read_text().count("\n") == 1000
    assert (tmp_path / "part.jaxff").read_bytes() == (tmp_path / "whole.jaxff").read_bytes()


def test_xz_traj_and_other_keys_give_the_same_structures(frames, tmp_path):
    write(tmp_path / "a.xyz", frames)
    write(tmp_path / "a.xyz.xz", frames, format="extxyz")
    write(tmp_path / "a.traj", frames)
    renamed = []
    for atoms in frames:
        copy = atoms.copy()
        copy.info |= {
            "dft_energy": atoms.get_potential_energy(),
            "virial": -atoms.get_stress(voigt=False) * atoms.get_volume(),
        }
        copy.arrays["dft_forces"] = atoms.get_forces()
        renamed.append(copy)
    write(tmp_path / "b.xyz", renamed)
    first = read_structures(tmp_path / "a.xyz")
    for path, labels in (("a.xyz.xz", None), ("a.traj", None), ("b.xyz", Labels("dft_energy", "dft_forces"))):
        for one, other in zip(first, read_structures(tmp_path / path, labels), strict=True):
            assert (one.symbols, one.group) == (other.symbols, other.group)
            assert one.energy == pytest.approx(other.energy, abs=1e-7)
            np.testing.assert_allclose(one.forces, other.forces, atol=1e-7)
            np.testing.assert_allclose(one.virial, other.virial, atol=1e-5)


def test_a_flagged_stress_is_not_used(frames):
    atoms = frames[0].copy()
    atoms.calc = frames[0].calc
    for flag, used in (("ok", True), ("pulay_offset", False), ("shear_unreliable", False), ("slab", False)):
        atoms.info["stress_flag"] = flag
        assert (structure_of(atoms, "frame").virial is not None) is used
    atoms.info["stress_flag"] = "ok"
    atoms.pbc = (True, True, False)
    assert structure_of(atoms, "frame").virial is None


def broken(frames, number, **changes):
    """``frames`` with labels of one of them changed; None removes a label."""
    result = list(frames)
    labels = {k: v for k, v in {**frames[number].calc.results, **changes}.items() if v is not None}
    result[number] = labelled(frames[number], **labels)
    return result


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (3, {"energy": None}, r"bad.traj, frame 3 has no energy.*forces, stress"),
        (5, {"forces": None}, r"bad.traj, frame 5 has no forces, but .*frame 0 has"),
        (2, {"energy": np.nan}, r"bad.traj, frame 2: energy is not finite"),
        (
            7,
            {"forces": np.array([[0, 0, 0], [0, np.inf, 0], [0, 0, 0], [0, 0, 0.0]])},
            r"frame 7: forces is not finite \(first at atom 1\)",
        ),
        (1, {"stress": np.full(6, np.nan)}, r"frame 1: stress is not finite"),
    ],
)
def test_a_bad_label_is_named_with_its_frame(frames, tmp_path, number, changes, message):
    write(tmp_path / "bad.traj", broken(frames, number, **changes))
    with pytest.raises(DatasetError, match=message):
        check(read_structures(tmp_path / "bad.traj"))


def refusal(folder, *arguments):
    """What `jaxff train` says, in one line, of something it cannot do."""
    with pytest.raises(JaxffError) as caught:
        app(["train", *map(str, arguments), "--out", str(folder / "x.jaxff")], standalone_mode=False)
    assert not (folder / "x.jaxff").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_trained_on_is_refused_in_one_line(frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "junk.xyz").write_text("what is\nthis\n")
    overlapping = labelled(
        Atoms("Cu2", [[0, 0, 0], [0, 0, 1e-5]], cell=[9, 9, 9], pbc=True), energy=0.0, forces=np.zeros((2, 3))
    )
    write(tmp_path / "overlap.xyz", [*frames, overlapping])
    write(tmp_path / "good.xyz", frames)
    write(tmp_path / "other.xyz", labelled(Atoms("Ni", cell=[3, 3, 3], pbc=True), energy=0.0, forces=np.zeros((1, 3))))
    for arguments, message in (
        (["empty.xyz"], "empty.xyz"),
        (["junk.xyz"], "cannot read junk.xyz"),
        (["none.xyz"], "there is no file none.xyz"),
        (["overlap.xyz"], "overlap.xyz, frame 16: atoms 0 and 1 are at the same place"),
        (
            ["good.xyz", "--valid", "other.xyz"],
            "other.xyz, frame 0 has Ni, which the training data lack; they have Cu, Au",
        ),
        (["good.xyz", "--model", "acee"], "there is no model 'acee'; choose from ac"),
        (["good.xyz", "--set", "training.learning_rat=1"], "there is no setting training.learning_rat"),
        (["good.xyz", "--set", "training.epochs=many"], "training.epochs"),
        (["good.xyz", "--set", "model.descriptor.l_max=99"], "l_max is 99; it must be between 0 and 6"),
    ):
        assert message in refusal(tmp_path, *arguments)
    with pytest.raises(JaxffError, match="there is no directory nowhere"):
        app(["train", "good.xyz", "--out", "nowhere/x.jaxff"], standalone_mode=False)


def test_default_configuration_is_what_no_configuration_gives(tmp_path):
    (tmp_path / "c.yaml").write_text(default_yaml())
    written, none = load_config(tmp_path / "c.yaml"), load_config()
    assert written.training == none.training
    assert written.settings() == none.settings() == Settings()
    from jax_models.models import completed

    assert completed(written.model.architecture()) == completed(none.model.architecture())
    assert set(yaml.safe_load(default_yaml())["training"]) == set(Settings().to_dict())


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("training: {epochs: 7, learning_rate: 1e-3}\nmodel:\n  descriptor: {name: acsf}\n")
    config = load_config(
        tmp_path / "c.yaml",
        overrides=["training.learning_rate=2e-4", "model.cutoff=6", "data.energy_key=REF"],
        epochs=9,
    )
    assert (config.training.epochs, config.training.learning_rate) == (9, 2e-4)
    assert (config.model.cutoff, config.data.energy_key) == (6.0, "REF")
    assert config.model.architecture() == {"descriptor": {"name": "acsf"}}
    points = load_config(overrides=["reference_points=bonds"]).model.architecture()["reference_points"]
    assert points == load_config(overrides=["model.reference_points=bonds"]).model.reference_points == {"name": "bonds"}
    named = load_config(tmp_path / "c.yaml", model="ace", overrides=["model.descriptor.l_max=2"])
    assert named.model.architecture() == {"descriptor": {"name": "ace", "l_max": 2}}
    assert load_config(model="schnet").model.architecture() == {"name": "schnet"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: [1]", "training"),
        ("traning: {}", "there is no setting traning; there are data, model, training"),
        ("training: {epochs: 0}", "training.epochs is 0"),
        ("training: {learning_rate: fast}", 'training.learning_rate is "fast"'),
        ("a: [", "not valid YAML"),
        ("- 1", "must hold sections"),
    ],
)
def test_bad_configurations_say_what_is_wrong(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="dotted.key=value"):
        load_config(overrides=["training.epochs"])


def test_schema_describes_every_setting(tmp_path):
    printed = jaxff("config", "--schema", folder=tmp_path)
    assert json.loads(printed.stdout) == schema()
    training = schema()["$defs"]["TrainingConfig"]["properties"]
    assert all(entry["description"] for entry in training.values())
    assert training["learning_rate"]["exclusiveMinimum"] == 0
    assert jaxff("config", folder=tmp_path).stdout == default_yaml()
    assert Config.model_validate(yaml.safe_load(default_yaml()))


def test_isolated_atoms_from_a_second_file_are_the_references(shared_data):
    folder = shared_data / "molecules"
    molecules = [structure_of(atoms, "ethanol") for atoms in read(folder / "ethanol_train.xyz.xz", ":5")]
    structures = [*molecules, *read_structures(folder / "ethanol_isolated_atoms.xyz.xz")]
    check(structures)
    alone = {s.symbols[0]: s.energy for s in structures if s.isolated}
    assert elements_of(structures) == ("H", "C", "O") and "N" in alone
    assert reference_energies(structures, ["H", "C", "O"]).tolist() == [alone["H"], alone["C"], alone["O"]]


def test_only_trustworthy_stresses_of_real_data_are_used(shared_data):
    for name, stresses in (("mlearn/Cu_test", 0), ("mlearn/Li_test", 25)):
        structures = read_structures(shared_data / f"{name}.xyz.xz")
        check(structures)
        assert sum(s.virial is not None for s in structures) == stresses


def test_commands_start_without_heavy_imports():
    code = (
        "import sys; import jaxff.cli.app; print([m for m in ('jax', 'ase', 'numpy', 'pydantic') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ).stdout.strip()
        == "[]"
    )
