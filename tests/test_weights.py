"""Weights of files and config_types: they count in every loss, and in no error that is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.io import write
from conftest import make_grid_potential
from test_grid_training import CUTOFF as GRID_CUTOFF
from test_grid_training import GRID
from test_grid_training import structures as grid_structures
from test_training_cli import SMALL
from training_data import TINY, emt_frames, emt_structures
from typer.testing import CliRunner

from jax_models import ConfigError, Potential
from jax_models.models import build
from jax_models.training.data.batches import pack
from jax_models.training.data.grid_batches import rows_of
from jax_models.training.data.structures import fingerprint
from jax_models.training.gradient.trainer import Supervised, labelled
from jax_models.training.linear.linear_trainer import train_linear
from jax_models.training.linear.problem import pose
from jax_models.training.settings import Settings
from jax_models.training.uncertainty.bootstrap import _normal_equations
from jaxff.cli.app import app
from jaxff.config import load_config
from jaxff.train.weights import weighted

LINEAR = {"descriptor": TINY["descriptor"], "readout": {"name": "linear"}}
WEIGHTS = (3.0, 0.25, 1.0, 2.0)


def heavy(structures):
    return [dataclasses.replace(s, weight=WEIGHTS[n % 4]) for n, s in enumerate(structures)]


def losses(architecture, cutoff, structures):
    """Of each structure alone, of all together, and the errors that are shown."""
    settings = Settings(validation_fraction=0.0, batch_structures=len(structures))
    rows = lambda elements: rows_of(build(architecture, elements, cutoff))  # noqa: E731
    data = labelled(structures, cutoff, settings, structures[:1], ("Cu", "Au"), lambda *_: np.zeros(2), rows)
    model, objective = build(architecture, ("Cu", "Au"), cutoff, 1), Supervised(data, settings)
    loss = eqx.filter_jit(lambda model, batch: objective.loss(model, batch, settings.energy_weight)[0])
    alone = [float(loss(model, pack([p], data.shape))) for p in data.prepared]
    return alone, sum(float(loss(model, batch)) for batch in data.train_batches), objective.metrics(model)["train"]


@pytest.mark.parametrize("kind", ["atoms", "grid"])
def test_the_loss_of_a_structure_is_multiplied(kind):
    if kind == "atoms":
        architecture, cutoff, plain = TINY, 4.0, emt_structures(4)
    else:
        architecture, cutoff = GRID, GRID_CUTOFF
        plain = grid_structures(make_grid_potential(("Cu", "Au"), cutoff, GRID), 4)
    light, whole, errors = losses(architecture, cutoff, plain)
    assert whole == pytest.approx(sum(light), rel=1e-4)
    loaded, whole, same_errors = losses(architecture, cutoff, heavy(plain))
    np.testing.assert_allclose(loaded, np.array(light) * WEIGHTS, rtol=1e-4)
    assert whole == pytest.approx(sum(loaded), rel=1e-4)
    # Errors are those of the structures as they are.
    assert same_errors == errors


def test_rows_of_least_squares_and_of_the_heads():
    plain, settings = emt_structures(6), Settings(heads=2)
    problems = [pose(s, LINEAR, 4.0, settings) for s in (plain, heavy(plain))]
    for n, (light, loaded) in enumerate(zip(problems[0].rows(), problems[1].rows(), strict=True)):
        np.testing.assert_allclose(loaded, np.sqrt(WEIGHTS[n % 4]) * light, rtol=1e-9)
    model = jax.tree.map(jnp.asarray, build(TINY, ("Cu", "Au"), 4.0, 1))
    prepare = rows_of(model)
    found = [
        _normal_equations(model, [prepare(s, ("Cu", "Au"), np.zeros(2), 4.0) for s in part], settings)
        for part in (plain, heavy(plain))
    ]
    factors = np.array([WEIGHTS[n % 4] for n in range(6)])
    np.testing.assert_allclose(found[1][2], factors * found[0][2], rtol=1e-4)


def test_contradicting_labels_follow_the_heavier_file():
    """The same structures with two energies: the fit is at the one that weighs a thousand times more."""
    plain = emt_structures(10, alloy=False)
    wrong = [dataclasses.replace(s, energy=s.energy + 0.4 * np.sin(7 * s.energy)) for s in plain]

    def fitted(weight):
        light = [dataclasses.replace(s, weight=weight) for s in wrong]
        trained = train_linear([*plain, *light], LINEAR, 4.0, Settings(force_weight=0.0, stress_weight=0.0, ridge=1e-9))
        return [trained.potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))["energy"] for s in plain]

    labels, others = np.array([s.energy for s in plain]), np.array([s.energy for s in wrong])
    near, far = np.abs(np.array(fitted(1e-3)) - labels).max(), np.abs(np.array(fitted(1e3)) - others).max()
    assert near < 0.05 * np.abs(labels - others).max()
    assert far < 0.05 * np.abs(labels - others).max()


def test_linear_training_with_isolated_atoms():
    """Whose energy has a small weight among the batches, but an equation of its own."""
    plain = emt_structures(6, alloy=False)
    alone = dataclasses.replace(
        plain[0], positions=np.zeros((1, 3)), cell=np.zeros((3, 3)), periodic=np.zeros(3, bool), symbols=("Cu",),
        energy=-1.5, forces=None, virial=None,
    )  # fmt: skip
    problem = pose([alone, *plain], LINEAR, 4.0, Settings())
    assert len(list(problem.rows())) == 7


def test_names_are_files_or_kinds(tmp_path):
    structures = emt_structures(4)
    files = [tmp_path / "a.xyz", tmp_path / "a.xyz", tmp_path / "b.xyz", tmp_path / "b.xyz"]

    def given(weights, files=files):
        return [s.weight for s in weighted(structures, files, weights)]

    assert given({}) == [1, 1, 1, 1]
    assert given({"b.xyz": 0.5, "strained": 4}) == [1, 4, 0.5, 2]
    assert given({str(tmp_path / "a.xyz"): 3}) == [3, 3, 1, 1]
    with pytest.raises(ConfigError, match=r"names straind, .*did you mean strained"):
        given({"straind": 2})
    with pytest.raises(ConfigError, match="give the path"):
        given({"a.xyz": 2}, [tmp_path / "a.xyz", tmp_path / "old" / "a.xyz", *files[2:]])
    with pytest.raises(ConfigError, match="a file and a config_type"):
        given({"strained": 2}, [Path("strained"), *files[1:]])
    with pytest.raises(ConfigError, match="data.weights.a is -1"):
        load_config(overrides=["data.weights={a: -1}"])


def test_a_checkpoint_with_other_weights_is_another_training():
    plain = emt_structures(4)
    assert fingerprint(plain) == fingerprint([dataclasses.replace(s, weight=1.0) for s in plain])
    assert fingerprint(plain) != fingerprint(heavy(plain))


def test_jaxff_train_with_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = emt_frames(12)
    write("good.xyz", frames[:6])
    write("poor.xyz", frames[6:])
    base = ["train", "good.xyz", "poor.xyz", "--out", "p.jaxff", "--set"]
    small = [
        *SMALL[:-2],
        "--set",
        "training.method=linear",
        "--set",
        "training.ridge=1e-8",
        "--set",
        "training.heads=0",
    ]
    done = CliRunner().invoke(app, [*base, "data.weights={poor.xyz: 0.1}", *small])
    assert done.exit_code == 0, done.output
    assert "6 of weight 0.1" in " ".join(done.output.split())
    assert Potential.load("p.jaxff").provenance["weights"] == {"poor.xyz": 0.1}
    refused = CliRunner().invoke(app, [*base, "data.weights={poor.xy: 0.1}", "--dry-run"])
    assert "did you mean poor.xyz?" in str(refused.exception)
