"""The linear trainer finds the least-squares fit, from whatever labels there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_potential
from training_data import emt_frames, emt_structures

from jax_models import ConfigError
from jax_models.training.gradient.trainer import train
from jax_models.training.linear.ensemble import members_of
from jax_models.training.linear.equations import parameters_of
from jax_models.training.linear.evidence import most_probable
from jax_models.training.linear.least_squares import cross_validated, folds_of, loss, triangle
from jax_models.training.linear.linear_trainer import train_linear
from jax_models.training.linear.problem import pose
from jax_models.training.settings import Settings
from jaxff.plots.training_course import ridge_curve

ARCHITECTURE = {"descriptor": {"name": "ace", "n_channels": 2, "n_radial": 3, "l_max": 1, "body_order": 3}}
LINEAR = {**ARCHITECTURE, "readout": {"name": "linear"}}


@pytest.fixture(scope="module")
def structures():
    return emt_structures(12)


def relabelled(structures, potential):
    """The structures with ``potential``'s own energies, forces and virials as labels."""
    result = []
    for s in structures:
        found = potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))
        result.append(replace(s, energy=float(found["energy"]), forces=found["forces"], virial=found["virial"]))
    return result


def test_labels_of_a_linear_model_are_found_again(structures):
    elements = pose(structures, LINEAR, 4.0, Settings()).contract.elements
    teacher = make_potential(elements, 4.0, seed=0, architecture=LINEAR)
    labelled = relabelled(structures, teacher)
    result = train_linear(labelled[:8], ARCHITECTURE, 4.0, Settings(ridge=0.0), validation=labelled[8:])
    errors = result.potential.provenance["metrics"]["validation"]
    assert errors["energy_rmse"] < 1e-7
    assert errors["force_rmse"] < 1e-7
    assert errors["virial_rmse"] < 1e-7
    assert result.potential.architecture["readout"] == {"name": "linear"}


def test_rows_are_what_the_potential_gives(structures):
    """Energy, forces and virial of the equations are those of the finished potential; its loss is the gradient
    trainer's."""
    problem = pose(structures[:3], {**LINEAR, "priors": [{"name": "zbl"}]}, 4.0, Settings())
    parameters = np.random.default_rng(0).normal(scale=0.1, size=problem.n_parameters)
    potential = problem.potential(parameters, {})
    np.testing.assert_allclose(parameters_of(potential.model), parameters)
    for s, found in zip(structures, problem.equations(), strict=False):
        values = potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))
        n = len(s)
        expected = [
            (values["energy"] - s.energy) / n,
            *np.ravel(values["forces"] - s.forces),
            *np.ravel(values["virial"] - s.virial) / n,
        ]
        np.testing.assert_allclose(found.matrix @ parameters - found.target, expected, atol=1e-9)
    weights = Settings()
    metrics = potential.provenance["metrics"]["train"]
    expected = sum(
        w * metrics[f"{k}_rmse"] ** 2 for w, k in ((weights.energy_weight, "energy"), (1.0, "force"), (10.0, "virial"))
    )
    assert sum(loss(rows, parameters) for rows in problem.rows()) == pytest.approx(expected, rel=1e-6)


def test_the_fit_is_the_minimum_and_the_ridge_is_chosen_by_left_out_data(structures):
    problem = pose(structures, LINEAR, 4.0, Settings())
    rows = list(problem.rows())
    stacked = np.concatenate(rows)
    best = np.linalg.lstsq(stacked[:, :-1], stacked[:, -1], rcond=1e-13)[0]
    plain = cross_validated([triangle(rows, stacked.shape[1])], [0.0])
    assert loss(stacked, plain.parameters) == pytest.approx(loss(stacked, best), rel=1e-6)
    result = train_linear(structures, LINEAR, 4.0)
    losses = {record["ridge"]: record["validation_loss"] for record in result.history}
    assert losses[result.potential.provenance["ridge"]] == min(losses.values())
    # By hand, for one strength: fit without a fold, measure on it.
    folds = folds_of(problem.kinds, 8)
    strength, expected = 1e-6, 0.0
    for fold in range(8):
        train = np.concatenate([r for r, f in zip(rows, folds, strict=True) if f != fold])
        normal = train[:, :-1].T @ train[:, :-1]
        normal += strength * np.linalg.eigvalsh(normal)[-1] * np.eye(len(normal))
        parameters = np.linalg.solve(normal, train[:, :-1].T @ train[:, -1])
        expected += sum(loss(r, parameters) for r, f in zip(rows, folds, strict=True) if f == fold)
    assert losses[min(losses, key=lambda s: abs(np.log(s / strength)))] == pytest.approx(expected, rel=1e-4)


def test_energies_alone_suffice(structures):
    bare = [replace(s, forces=None, virial=None) for s in structures]
    found = train_linear(bare, ARCHITECTURE, 4.0).potential
    unasked = train_linear(structures, ARCHITECTURE, 4.0, Settings(force_weight=0, stress_weight=0)).potential
    np.testing.assert_allclose(parameters_of(found.model), parameters_of(unasked.model), rtol=1e-6, atol=1e-9)
    assert set(found.provenance["metrics"]["train"]) == {"energy_rmse", "energy_mae"}


def test_bonds_as_reference_points_and_the_file(structures, tmp_path):
    from jax_models import Potential

    architecture = {"descriptor": {"name": "chebyshev", "radial_n": 3, "angular_n": 2}, "reference_points": "bonds"}
    potential = train_linear(structures, architecture, 4.0).potential
    potential.save(tmp_path / "bonds.jaxff")
    again = Potential.load(tmp_path / "bonds.jaxff")
    s = structures[0]
    given = s.positions, s.cell, s.periodic, list(s.symbols)
    np.testing.assert_allclose(again.evaluate(*given)["forces"], potential.evaluate(*given)["forces"], atol=1e-12)


SCATTERING = {
    "name": "scattering",
    "n_scales": 1,
    "n_max": 1,
    "l_max": 0,
    "orders": [0, 1],
    "powers": [1, 2],
    "beta_0": 1.2,
}


def test_whole_cells(structures):
    """Scattering: the rows of energy, forces and stress are what the potential gives."""
    problem = pose(structures[:3], {"descriptor": SCATTERING}, 4.0, Settings())
    parameters = np.random.default_rng(0).normal(size=problem.n_parameters)
    potential = problem.potential(parameters, {})
    for s, found in zip(structures, problem.equations(), strict=False):
        values = potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))
        n = len(s)
        expected = [
            (values["energy"] - s.energy) / n,
            *np.ravel(values["forces"] - s.forces),
            *np.ravel(values["virial"] - s.virial) / n,
        ]
        np.testing.assert_allclose(found.matrix @ parameters - found.target, expected, atol=1e-7)
    names = problem.parameter_names
    assert {"order", "scale", "power"} <= set(names[-2])
    with pytest.raises(ConfigError, match="training.method=linear"):
        train(structures, {"descriptor": SCATTERING}, 4.0)


def test_models_that_are_not_linear_are_refused(structures):
    with pytest.raises(ConfigError, match="readout mlp: set model.readout.name=linear"):
        train_linear(structures, {**ARCHITECTURE, "readout": {"name": "mlp"}}, 4.0)
    with pytest.raises(ConfigError, match="a message-passing network"):
        train_linear(structures, {"name": "painn"}, 4.0)
    with pytest.raises(ConfigError, match="training.method is 'lars'"):
        Settings(method="lars")


def test_jaxff_train_linear(tmp_path):
    from ase.io import write
    from typer.testing import CliRunner

    from jaxff.cli.app import app

    write(tmp_path / "data.xyz", emt_frames(12, alloy=False))
    options = ["--set", "training.method=linear", "--set", "model.descriptor={name: ace, n_channels: 2, l_max: 1}"]
    done = CliRunner().invoke(app, ["train", str(tmp_path / "data.xyz"), "--out", str(tmp_path / "cu.jaxff"), *options])
    assert done.exit_code == 0, done.output
    assert "ridge strength" in done.output
    log = (tmp_path / "cu.jaxff.log.jsonl").read_text().splitlines()
    assert len(log) > 10
    assert (tmp_path / "cu.jaxff.training.png").exists()


def test_a_smooth_prior_finds_its_strengths_and_how_sure_it_is():
    """Parameters drawn from one prior, labels with noise: the evidence prefers it, and the spread covers the truth."""
    generator = np.random.default_rng(1)
    names = [{"body_order": 2, "n": [n], "l": [0]} for n in range(30)] + [
        {"body_order": 3, "n": [n, n], "l": [2, 2]} for n in range(30)
    ]
    scale = np.array([1.0 + sum(name["n"]) + max(name["l"]) for name in names]) ** 2 / np.array(
        [1.0] * 30 + [0.03] * 30
    )
    truth = generator.normal(size=60) / scale
    matrix = generator.normal(size=(50, 60))
    rows = np.column_stack([matrix, np.ones(50), matrix @ truth + 0.7 + 1e-3 * generator.normal(size=50)])
    found = most_probable(rows, 50, [*names, {"feature": None}])
    best = max(found.path, key=lambda record: record["probability"])
    assert best["smoothness"] == 2 and best["triplets"] in (0.1, 0.03)
    assert found.parameters[-1] == pytest.approx(0.7, abs=0.01)
    new = generator.normal(size=(200, 60))
    misses = new @ (found.parameters[:-1] - truth)
    assert np.std(misses) < 0.5 * np.std(new @ truth)
    spread = np.std([new @ member[:-1] for member in found.draw(40)], axis=0)
    assert 0.5 < np.sqrt(np.mean(misses**2)) / np.sqrt(np.mean(spread**2)) < 2


def test_smooth_and_weighted_by_energy(structures):
    """Through the trainer: members are kept, and structures far above the lowest count less."""
    architecture = {"descriptor": {"name": "power_spectrum", "pair_n": 4, "triplet_n": 2, "l_max": 1}}
    options = Settings(force_weight=0, stress_weight=0, prior="smooth", energy_range=0.03)
    result = train_linear(structures, architecture, 4.0, options)
    assert len(members_of(result.potential)) == 20
    assert len(ridge_curve(result.history).axes[0].lines) == 3
    problem = pose(structures, architecture, 4.0, options)
    plain = pose(structures, architecture, 4.0, replace(options, energy_range=None))
    factors = [a[0, -1] / b[0, -1] for a, b in zip(problem.rows(), plain.rows(), strict=True)]
    np.testing.assert_allclose(factors, 1 / (1 + (plain.energies - plain.energies.min()) / 0.03), rtol=1e-6)
    with pytest.raises(ConfigError, match="does not name its radial orders"):
        train_linear(structures, ARCHITECTURE, 4.0, options)
