"""Feature selection finds the features that made the data, and says honestly how well it predicts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training_data import emt_frames, emt_structures

from jax_models import ConfigError, Potential
from jax_models.training.linear.ensemble import members_of
from jax_models.training.linear.feature_selection import (
    METHODS,
    nested_error,
    orthogonal_least_squares,
    select,
    stable_order,
)
from jax_models.training.linear.least_squares import folds_of, loss
from jax_models.training.linear.selected_model import select_features
from jax_models.training.settings import Settings

KINDS = [("a", float(n)) for n in np.random.default_rng(5).permutation(80)]
TRUE = {3: 2.0, 17: -1.5, 29: 0.7}


@pytest.fixture(scope="module")
def sparse():
    """80 equations for 40 correlated parameters, three of which matter; the last column of the matrix is constant."""
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(80, 40)) + 0.7 * generator.normal(size=(80, 1))
    matrix[:, -1] = 1.0
    target = sum(value * matrix[:, i] for i, value in TRUE.items()) + 5.0 + 0.05 * generator.normal(size=80)
    return [row[None] for row in np.column_stack([matrix, target])]


@pytest.mark.parametrize("method", [*METHODS, "stability"])
def test_features_that_made_the_data_are_found(sparse, method):
    found = select(sparse, KINDS, [39], method=method, most=20)
    assert set(found.selected) >= {*TRUE, 39}
    assert set(found.order[:4]) == {*TRUE, 39}
    assert found.size <= 8
    for index, value in TRUE.items():
        assert found.parameters[index] == pytest.approx(value, abs=0.05)
    assert np.count_nonzero(found.parameters) == found.size
    errors = {record["features"]: record["error"] / np.sqrt(80) for record in found.path}
    assert errors[4] == pytest.approx(0.05, rel=0.3)  # the noise
    assert errors[1] > 1.0


def test_greedy_steps_are_the_best_there_are(sparse):
    """Each parameter that enters is the one that leaves the smallest residual of all that could."""
    rows = np.concatenate(sparse)
    order = orthogonal_least_squares(rows, np.array([], int), 6)

    def residual(columns):
        solution = np.linalg.lstsq(rows[:, columns], rows[:, -1], rcond=None)[0]
        return np.sum((rows[:, columns] @ solution - rows[:, -1]) ** 2)

    for k in range(6):
        others = [i for i in range(40) if i not in order[:k]]
        assert min(others, key=lambda i: residual([*order[:k], i])) == order[k]


def test_what_is_only_noise_is_not_selected_again_and_again(sparse):
    _, frequency = stable_order(sparse, np.array([39]), 8)
    assert min(frequency[list(TRUE)]) > 0.95
    assert np.median(np.delete(frequency, [*TRUE, 39])) < 0.2


def test_stability_counts_how_often_before_how_early():
    """A parameter that almost every half selects comes before one that few halves select, be it as their first."""
    generator = np.random.default_rng(2)
    n = 60
    matrix = generator.normal(size=(n, 30))
    # Few structures hold nearly all there is of parameter 0: the halves that have several of them take it first.
    target = matrix[:, 1] + 0.9 * matrix[:, 2] + 0.8 * matrix[:, 3] + 0.7 * matrix[:, 4]
    matrix[:, 0] = 0.0
    matrix[:3, 0] = 30.0
    target[:3] += np.array([30.0, -30.0, 30.0])
    parts = [row[None] for row in np.column_stack([matrix, target + 0.3 * generator.normal(size=n)])]
    order, frequency = stable_order(parts, np.array([], int), 12)
    assert len(set(frequency[order].tolist())) > 3, "there is something to be ordered"
    assert (np.diff(frequency[order]) <= 1e-12).all()


def test_nested_error_is_that_of_new_data(sparse):
    generator = np.random.default_rng(1)
    noise = [np.append(row[0, :-1], generator.normal())[None] for row in sparse]
    found = nested_error(noise, KINDS, [39], most=20)
    chosen = select(noise, KINDS, [39], most=20)
    fitted = np.sqrt(sum(loss(row, chosen.parameters) for row in noise))
    spread = np.std([row[0, -1] for row in noise]) * np.sqrt(80)
    assert found["error"] > 0.95 * spread  # pure noise cannot be predicted, whatever was selected
    assert fitted <= found["error"] * 1.05
    assert len(found["errors"]) == len(found["features"]) == 5


ARCHITECTURE = {"descriptor": {"name": "ace", "n_channels": 4, "n_radial": 4, "l_max": 1, "body_order": 3}}


def test_an_ensemble_is_one_potential_and_its_members(tmp_path):
    structures = emt_structures(16)
    settings = Settings(force_weight=0, stress_weight=0)
    found = select_features(structures, ARCHITECTURE, 4.0, settings, most=10, members=3)
    found.potential.save(tmp_path / "ensemble.jaxff")
    mean = Potential.load(tmp_path / "ensemble.jaxff")
    members = members_of(mean)
    assert len(members) == 3
    s = structures[0]
    given = s.positions, s.cell, s.periodic, list(s.symbols)
    energies = [m.evaluate(*given)["energy"] for m in members]
    assert np.mean(energies) == pytest.approx(float(mean.evaluate(*given)["energy"]), abs=1e-9)
    assert np.std(energies) > 1e-6
    assert found.report["ensemble_sizes"] == [np.count_nonzero(_parameters(m)) for m in members]
    single = select_features(structures, ARCHITECTURE, 4.0, settings, most=10)
    assert members_of(single.potential) == []
    assert np.count_nonzero(_parameters(single.potential)) == single.report["size"]
    # Energies only: the error is the one of the energies, in eV/atom.
    path = {record["features"]: record for record in single.report["path"]}
    fitted = single.potential.provenance["metrics"]["train"]["energy_rmse"]
    assert path[single.report["size"]]["training_error"] == pytest.approx(fitted, rel=1e-3)


def _parameters(potential):
    from jax_models.training.linear.equations import parameters_of

    return parameters_of(potential.model)


def test_what_is_left_out_asks_for_extrapolation():
    """Of a trajectory a run of energies, the hottest together; small families go round."""
    energies = np.random.default_rng(0).permutation(32)
    kinds = [("md", float(e)) for e in energies] + [(f"slab {n}", 0.0) for n in range(8)]
    folds = folds_of(kinds, 8)
    assert {int(f) for f, e in zip(folds, energies, strict=False) if e >= 28} == {7}
    assert sorted(folds[32:]) == list(range(8))
    assert (np.bincount(folds) == 5).all()


def test_a_method_that_is_not_there():
    with pytest.raises(ConfigError, match="no selection method 'magic'; choose from ols, omp, lasso, stability"):
        select([np.ones((1, 3))] * 4, [("a", 0.0)] * 4, method="magic")
    with pytest.raises(ConfigError, match="1 is too few"):
        select([np.ones((1, 3))], [("a", 0.0)])


def test_jaxff_select_features(tmp_path):
    from ase.io import write
    from typer.testing import CliRunner

    from jaxff.cli.app import app

    write(tmp_path / "cu.xyz", emt_frames(16, alloy=False))
    out = tmp_path / "cu.jaxff"
    options = [
        "--set",
        "training.force_weight=0",
        "--set",
        "training.stress_weight=0",
        "--max-features",
        "6",
        "--ensemble",
        "2",
    ]
    options += ["--set", "model.descriptor={name: ace, n_channels: 4, l_max: 1, body_order: 3}"]
    done = CliRunner().invoke(app, ["select-features", str(tmp_path / "cu.xyz"), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    assert "nested cross-validation" in " ".join(done.output.split())
    text = (tmp_path / "cu.jaxff.selection.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    report = json.loads(text)
    assert {"method", "size", "path", "nested", "selected", "ensemble_sizes"} <= set(report)
    assert len(report["selected"]) == report["size"] <= 6
    assert {"body_order", "l", "channel", "frequency"} <= set(report["selected"][1])
    for name in ("selection", "features"):
        assert (tmp_path / f"cu.jaxff.{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(members_of(Potential.load(out))) == 2
