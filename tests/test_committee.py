"""A committee is the mean of its members, in one file, evaluated together; joined, trained, and refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from ase.io import write
from conftest import make_potential
from training_data import emt_frames
from typer.testing import CliRunner
from uncertain_potentials import ACE, CELL, ELEMENTS, bare, committee, doubtful, structures_labelled_by

from jax_models import ConfigError, Potential
from jax_models.contract import GRADED, SPREADS
from jax_models.training.settings import Settings
from jax_models.training.uncertainty import joined, with_uncertainty
from jaxff.cli.app import app

KINDS = ("ace", "schnet", "painn", "mace")
SMALL = [
    "--set", "model.cutoff=4.2", "--set", "model.descriptor.n_channels=4", "--set", "model.descriptor.n_radial=4",
    "--set", "model.descriptor.l_max=1", "--set", "model.readout.hidden=[8]",
]  # fmt: skip


@pytest.fixture(scope="module")
def labelled():
    return structures_labelled_by(make_potential(ELEMENTS, architecture=ACE, seed=7), 8)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def both(kind):
    """A committee that knows its errors, and its members."""
    whole, members = committee(kind)
    return doubtful(whole), members


def evaluated(potential, s, double, outputs=None):
    return potential.evaluate(s.positions, s.cell, True, list(s.symbols), double, outputs)


@pytest.mark.parametrize("double", [True, False])
def test_it_is_the_mean_of_its_members(both, labelled, double):
    """In single precision a network's functions are tabulated; the members' own reference energies differ."""
    whole, members = both
    s = labelled[-1]
    found, each = evaluated(whole, s, double), [evaluated(member, s, double) for member in members]
    scale = np.abs(found["forces"]).max()
    relative = 1e-10 if double else 2e-4
    for name in ("energy", "energies", "forces", "virial"):
        mean = np.mean([one[name] for one in each], axis=0)
        size = scale * (len(s) if name in ("energy", "virial") else 1)
        np.testing.assert_allclose(found[name], mean, atol=relative * size, err_msg=name)


@pytest.mark.parametrize("double", [True, False])
def test_its_spread_is_that_of_its_members(both, labelled, double):
    """Energies are compared with what members say of them, reference energies included."""
    whole, members = both
    s = labelled[-1]
    found, each = evaluated(whole, s, double, SPREADS), [evaluated(member, s, double) for member in members]
    scale = float(whole.uncertainty.spread)
    for name, of in zip(SPREADS, ("energy", "forces", "virial"), strict=True):
        expected = scale * np.std([one[of] for one in each], axis=0, ddof=1)
        rough = 1e-6 if double else 2e-3
        np.testing.assert_allclose(found[name], expected, rtol=rough, atol=rough * np.max(expected), err_msg=name)


def test_its_grade_is_made_of_the_first_members_features(labelled):
    whole, members = committee("ace")
    whole = with_uncertainty(whole, labelled[:6], labelled[6:])
    assert whole.provenance["uncertainty"]["members"] == 3
    assert whole.provenance["uncertainty"]["coverage"] >= 0.9
    first = with_uncertainty(members[0], labelled[:6], labelled[6:], Settings(heads=2))
    found, alone = (evaluated(p, labelled[-1], True, GRADED)["extrapolation_grade"] for p in (whole, first))
    np.testing.assert_allclose(found, alone, rtol=1e-4)


def test_a_file_gives_it_back(both, labelled, tmp_path):
    whole, _ = both
    whole.save(tmp_path / "c.jaxff")
    loaded = Potential.load(tmp_path / "c.jaxff")
    assert loaded.architecture["members"] == 3
    assert loaded.uncertainty.n_members(loaded.model) == 3
    outputs = ("energy", "forces", *GRADED, *SPREADS)
    before, after = (evaluated(p, labelled[0], True, outputs) for p in (whole, loaded))
    for name in outputs:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_joined_potentials_keep_the_first_ones_grade(labelled):
    parts = [with_uncertainty(bare("ace", n), labelled[:6], labelled[6:], Settings(heads=4)) for n in (1, 2)]
    whole = joined(parts)
    assert whole.provenance["uncertainty"]["members"] == whole.uncertainty.n_members(whole.model) == 2
    found, first = (evaluated(p, labelled[-1], True, GRADED)["extrapolation_grade"] for p in (whole, parts[0]))
    np.testing.assert_allclose(found, first, rtol=1e-6)
    again = Potential.from_bytes(whole.to_bytes())
    assert evaluated(again, labelled[-1], True, SPREADS)["forces_std"].max() > 0


def test_what_is_not_alike_cannot_be_joined():
    one = bare("ace")
    whole, _ = committee("ace", 2)
    others = {
        "elements": make_potential(("Si", "Ge"), architecture=ACE),
        "cutoff": make_potential(ELEMENTS, cutoff=3.9, architecture=ACE),
        "architecture": make_potential(
            ELEMENTS, architecture={**ACE, "descriptor": {**ACE["descriptor"], "n_radial": 4}}
        ),
        "kind": bare("painn"),
        "teacher": dataclasses.replace(one, provenance={"delta": {"teacher": "sw"}}),
        "committees": whole,
    }
    for word, other in others.items():
        with pytest.raises(ConfigError, match=word):
            joined([other, other] if word == "committees" else [one, other])
    with pytest.raises(ConfigError, match="two members or more"):
        joined([one])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two potentials of copper and gold, their data, and one that knows nothing of its errors."""
    folder = tmp_path_factory.mktemp("committee")
    frames = emt_frames(20)
    write(folder / "data.xyz", frames[:14])
    write(folder / "valid.xyz", frames[14:])
    return folder


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def trained(folder):
    """`jaxff train --members 2`."""
    done = invoke(
        "train", folder / "data.xyz", "--valid", folder / "valid.xyz", "--out", folder / "two.jaxff", "--epochs", 3,
        "--members", 2, *SMALL,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder / "two.jaxff", done.output


def test_train_members(trained):
    path, output = trained
    assert "member 2 of 2" in output
    assert "2 members tell the spread" in " ".join(output.split())
    found = Potential.load(path)
    assert [origin["seed"] for origin in found.provenance["members"]] == [0, 1]
    assert found.provenance["uncertainty"]["calibrated_on"] == "held-out structures"
    first, second = (jax.tree.leaves(found.model.member(n).readout) for n in range(2))
    assert any(np.abs(a - b).max() > 0 for a, b in zip(first, second, strict=True))
    records = [json.loads(line) for line in path.with_name("two.jaxff.log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 1, 2, 3]
    left = sorted(p.name for p in path.parent.glob("two.jaxff*"))
    assert left == ["two.jaxff", "two.jaxff.log.jsonl", "two.jaxff.training.png"]


@pytest.mark.slow
def test_killed_training_of_members_goes_on_where_it_was(folder, tmp_path):
    base = [sys.executable, "-m", "jaxff.cli.app", "train", str(folder / "data.xyz"), "--members", "2"]
    base += ["--epochs", "300", "--set", "training.patience=1", *SMALL]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    whole = subprocess.run([*base, "--out", str(tmp_path / "whole.jaxff")], timeout=300, **quiet)
    assert whole.returncode == 0, whole.stdout
    process = subprocess.Popen([*base, "--out", str(tmp_path / "part.jaxff")], **quiet)
    log = tmp_path / "part.jaxff.log.jsonl.1"
    while not log.exists() or log.read_text().count("\n") < 20:
        assert process.poll() is None
        time.sleep(0.02)
    # Python drops an interrupt that falls into a finalizer: as a person would, press again.
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            break
    process.stdout.close()
    assert process.returncode not in (0, None)
    assert not (tmp_path / "part.jaxff").exists()
    resumed = subprocess.run([*base, "--out", str(tmp_path / "part.jaxff")], timeout=300, **quiet)
    assert resumed.returncode == 0, resumed.stdout
    assert resumed.stdout.count("resuming from") == 2
    assert (tmp_path / "part.jaxff").read_bytes() == (tmp_path / "whole.jaxff").read_bytes()
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_a_linear_model_has_no_members_to_train(folder):
    done = invoke(
        "train", folder / "data.xyz", "--out", folder / "x.jaxff", "--members", 2, "--set", "training.method=linear",
        *SMALL[:-2],
    )  # fmt: skip
    assert isinstance(done.exception, ConfigError)
    assert "linear model has one solution" in str(done.exception)
    assert not (folder / "x.jaxff").exists()


def test_nothing_is_trained_on_from_a_committee(trained, folder):
    path, _ = trained
    done = invoke("train", folder / "data.xyz", "--out", folder / "x.jaxff", "--from", path, "--epochs", 1)
    assert isinstance(done.exception, ConfigError)
    assert "committee" in str(done.exception)


def test_jaxff_join(folder, tmp_path):
    paths = []
    for seed in (1, 2):
        paths.append(folder / f"one{seed}.jaxff")
        make_potential(("Cu", "Au"), 4.2, seed, ACE).save(paths[-1])
    out = tmp_path / "joined.jaxff"
    data = "--data", folder / "data.xyz", "--valid", folder / "valid.xyz"
    done = invoke("join", *paths, "--out", out, *data)
    assert done.exit_code == 0, done.output
    whole, members = Potential.load(out), [Potential.load(path) for path in paths]
    positions = np.array([[0.0, 0, 0], [1.9, 1.9, 0.2], [0.1, 1.8, 2.0]])
    energies = [p.evaluate(positions, CELL, True, ["Cu", "Au", "Cu"])["energy"] for p in (whole, *members)]
    assert energies[0] == pytest.approx(np.mean(energies[1:]), rel=1e-12)
    assert whole.provenance["uncertainty"]["held_out_structures"] == 6
    assert whole.contract.uncertainty


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        (["one1", "one2"], [], "knows nothing of its errors"),
        (["one1", "one2"], ["--valid", "valid.xyz"], "give --data too"),
        (["one1"], ["--data", "data.xyz"], "two members or more"),
        (["one1", "silicon"], ["--data", "data.xyz"], "elements"),
        (["one1", "nowhere"], ["--data", "data.xyz"], "nowhere"),
        (["two", "two"], [], "committees already"),
    ],
)
def test_jaxff_join_refuses(folder, trained, files, options, words):
    for seed in (1, 2):
        make_potential(("Cu", "Au"), 4.2, seed, ACE).save(folder / f"one{seed}.jaxff")
    make_potential(("Si",), 4.2, 1, ACE).save(folder / "silicon.jaxff")
    out = folder / "refused.jaxff"
    paths = [folder / f"{name}.jaxff" for name in files]
    done = invoke("join", *paths, "--out", out, *(o if o.startswith("--") else folder / o for o in options))
    assert done.exit_code != 0
    assert words in f"{done.output} {done.exception}"
    assert not out.exists()
