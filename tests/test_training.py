"""Training: it learns, its forces are the potential's, it repeats and resumes exactly, and keeps the best epoch."""

from __future__ import annotations

import dataclasses
import json

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from training_data import TINY, emt_structures

from jax_models import ConfigError, Potential, TrainingError
from jax_models.models import build
from jax_models.training.data.batches import common_shape, pack, packs, prepare, shuffled_batches
from jax_models.training.data.split import split
from jax_models.training.data.structures import Structure, natural_cutoff, reference_energies
from jax_models.training.gradient import trainer
from jax_models.training.gradient.losses import Counts, errors, predict, weighted_loss
from jax_models.training.gradient.optimizer import soap
from jax_models.training.gradient.trainer import train
from jax_models.training.settings import Settings

CUTOFF = 4.2
QUICK = Settings(epochs=6, batch_structures=2)


@pytest.fixture(scope="module")
def structures():
    return emt_structures()


@pytest.fixture(scope="module")
def trained(structures):
    return train(structures, TINY, CUTOFF, Settings(epochs=200, batch_structures=2, validation_fraction=0.2))


def filled_model(elements, seed=0):
    """A model whose readout is not zero, as it is before training."""
    model = build(TINY, elements, CUTOFF, seed)
    generator = np.random.default_rng(seed)
    random = jax.tree.map(
        lambda leaf: generator.normal(scale=0.1, size=leaf.shape).astype(np.float32),
        eqx.filter(model.readout, eqx.is_array),
    )
    return eqx.tree_at(lambda m: m.readout, model, eqx.combine(random, model.readout))


@pytest.mark.parametrize("lattice, expected", [(2.9, 5.0), (3.3, 5.5), (6.0, 6.0)])
def test_a_loose_crystal_is_seen_farther(lattice, expected):
    """bcc has 26 neighbours up to sqrt(2) lattice constants, and 50 up to sqrt(11)/2."""
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * lattice
    crystal = Structure(positions, np.eye(3) * lattice, np.ones(3, bool), ("Li", "Li"), 0.0)
    assert natural_cutoff([crystal] * 3) == expected


def numbers(potential):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(potential.model, eqx.is_array))]


def test_training_learns_energies_forces_and_stresses(structures, trained):
    forces = np.concatenate([s.forces for s in structures])
    energies = np.array([s.energy / len(s) for s in structures])
    found = trained.potential.provenance["metrics"]["train"]
    assert found["force_rmse"] < 0.15 * forces.std()
    assert found["energy_rmse"] < 0.05 * energies.std()
    assert found["virial_rmse"] < 0.2 * np.std([s.virial / len(s) for s in structures])


def test_reported_errors_are_those_of_the_potential(structures, trained):
    """The errors in the provenance, from padded float32 batches, are what `Potential.evaluate` finds in double."""
    potential = trained.potential
    taken, held_out = split(structures, 0.2, 0)
    for part, name in ((taken, "train"), (held_out, "validation")):
        found = [potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols)) for s in part]
        energy = np.sqrt(np.mean([((f["energy"] - s.energy) / len(s)) ** 2 for f, s in zip(found, part, strict=True)]))
        force = np.sqrt(
            np.mean(np.concatenate([f["forces"] - s.forces for f, s in zip(found, part, strict=True)]) ** 2)
        )
        virial = np.sqrt(np.mean([((f["virial"] - s.virial) / len(s)) ** 2 for f, s in zip(found, part, strict=True)]))
        metrics = potential.provenance["metrics"][name]
        np.testing.assert_allclose(
            [metrics[f"{k}_rmse"] for k in ("energy", "force", "virial")], [energy, force, virial], rtol=1e-3
        )


def test_batches_predict_what_the_potential_does(structures):
    elements = ("Cu", "Au")
    references = np.array([-1.0, -2.0])
    model = filled_model(elements)
    potential = Potential(trainer.Contract(elements, CUTOFF), model, TINY, references)
    prepared = [prepare(s, elements, references, CUTOFF) for s in structures[:5]]
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: leaf.astype(np.float64) if eqx.is_inexact_array(leaf) else leaf, model)
        batch = jax.tree.map(
            lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, pack(prepared, common_shape(prepared, 5))
        )
        energies, forces, virials = predict(double, batch)
    start = 0
    for number, s in enumerate(structures[:5]):
        expected = potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))
        assert energies[number] + references[prepared[number].species].sum() == pytest.approx(
            expected["energy"], abs=1e-5
        )
        # The batch's vectors are float32: that is the difference seen here.
        np.testing.assert_allclose(forces[start : start + len(s)], expected["forces"], atol=1e-5)
        np.testing.assert_allclose(virials[number], expected["virial"], atol=1e-4)
        start += len(s)


def test_gradient_of_the_loss_is_its_derivative(structures):
    """Forces are assembled with a transpose written by hand; finite differences know nothing of it."""
    elements = ("Cu", "Au")
    prepared = [prepare(s, elements, np.zeros(2), CUTOFF) for s in structures[:3]]
    with jax.enable_x64(True):
        batch = jax.tree.map(
            lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, pack(prepared, common_shape(prepared, 3))
        )
        model = jax.tree.map(
            lambda leaf: leaf.astype(np.float64) if eqx.is_inexact_array(leaf) else leaf, filled_model(elements)
        )
        parameters, static = eqx.partition(model, eqx.is_inexact_array)
        generator = np.random.default_rng(1)
        direction = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape), parameters)
        # The normalisation is not trained: the loss depends on it, its gradient does not.
        direction = eqx.tree_at(lambda m: (m.feature_mean, m.feature_scale), direction, replace_fn=np.zeros_like)

        @jax.jit
        def loss(step):
            moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)
            return weighted_loss(errors(eqx.combine(moved, static), batch), Counts(3, 36, 27), 100.0, 1.0, 10.0)

        h = 1e-5
        assert float(jax.grad(loss)(0.0)) == pytest.approx(float(loss(h) - loss(-h)) / (2 * h), rel=1e-6)


def test_same_seed_same_numbers_another_seed_others(structures):
    first, second = (train(structures, TINY, CUTOFF, QUICK).potential for _ in range(2))
    other = train(structures, TINY, CUTOFF, dataclasses.replace(QUICK, seed=1)).potential
    assert all(np.array_equal(a, b) for a, b in zip(numbers(first), numbers(second), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(numbers(first), numbers(other), strict=True))


@pytest.mark.parametrize("stop_after", [1, 4])
def test_interrupted_training_resumes_to_the_same_numbers(structures, tmp_path, stop_after):
    checkpoint = tmp_path / "si.jaxff.checkpoint"

    def interrupt(record, epochs):
        if record["epoch"] == stop_after:
            raise KeyboardInterrupt

    whole = train(structures, TINY, CUTOFF, QUICK)
    with pytest.raises(KeyboardInterrupt):
        train(structures, TINY, CUTOFF, QUICK, checkpoint=checkpoint, progress=interrupt)
    seen = []
    resumed = train(
        structures, TINY, CUTOFF, QUICK, checkpoint=checkpoint, progress=lambda r, n: seen.append(r["epoch"])
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert all(np.array_equal(a, b) for a, b in zip(numbers(whole.potential), numbers(resumed.potential), strict=True))
    strip = [[{k: v for k, v in r.items() if k != "seconds"} for r in t.history] for t in (whole, resumed)]
    assert strip[0] == strip[1]


def test_checkpoint_of_another_training_is_refused(structures, tmp_path):
    checkpoint = tmp_path / "c"

    def interrupt(record, epochs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(structures, TINY, CUTOFF, QUICK, checkpoint=checkpoint, progress=interrupt)
    with pytest.raises(TrainingError, match="other data or settings"):
        train(structures, TINY, CUTOFF, dataclasses.replace(QUICK, learning_rate=0.001), checkpoint=checkpoint)
    with pytest.raises(TrainingError, match="other data or settings"):
        train(structures[:-1], TINY, CUTOFF, QUICK, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(TrainingError, match="remove it to start again"):
        train(structures, TINY, CUTOFF, QUICK, checkpoint=checkpoint)


def test_best_epoch_is_kept_and_training_stops_early(structures, monkeypatch):
    """Validation labels that contradict the training data: the longer one trains, the worse."""
    wrong = [dataclasses.replace(s, energy=s.energy, forces=-0.2 * s.forces, virial=None) for s in structures[:4]]
    settings = dataclasses.replace(QUICK, epochs=40, patience=0.2, energy_weight=0.0, early_energy_weight=0.0)
    result = train(structures[4:], TINY, CUTOFF, settings, validation=wrong)
    losses = [r["loss"] for r in result.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 8 < 40
    assert result.potential.provenance["best_epoch"] == best + 1
    kept = result.potential.provenance["metrics"]["validation"]["force_rmse"]
    assert kept == pytest.approx(result.history[best]["validation"]["force_rmse"], rel=1e-6)
    assert kept < result.history[-1]["validation"]["force_rmse"]


def test_soap_minimises_what_adam_does_not():
    """A least-squares problem with correlated inputs, as descriptors are: the same steps, a hundredth of Adam's
    error."""
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    inputs = (generator.normal(size=(200, 12)) * np.logspace(0, -3, 12)) @ rotation.T
    target = inputs @ (rotation @ generator.normal(size=(12, 3)))

    def minimised(optimizer):
        @jax.jit
        def step(w, state, rate):
            value, gradient = jax.value_and_grad(lambda w: jax.numpy.mean((inputs @ w - target) ** 2))(w)
            direction, state = optimizer.update(gradient, state)
            return w - rate * direction, state, value

        w = jax.numpy.zeros((12, 3))
        state = optimizer.init(w)
        for n in range(400):
            w, state, value = step(w, state, 0.1 * (1 - n / 400))
        return float(value)

    assert minimised(soap()) < 0.01 * minimised(optax.scale_by_adam())


def test_reference_energies_by_least_squares_are_exact():
    def structure(symbols, energy, group=""):
        n = len(symbols)
        return Structure(np.zeros((n, 3)), np.eye(3), np.ones(3, bool), tuple(symbols), energy, group=group)

    own = {"H": -3.5, "O": -400.25, "Si": -100.0}
    mixed = [structure(s, sum(own[e] for e in s)) for s in (["H", "H", "O"], ["O", "O"], ["Si", "O", "O"], ["Si", "H"])]
    np.testing.assert_allclose(reference_energies(mixed, ["H", "O", "Si"]), [-3.5, -400.25, -100.0], rtol=1e-12)
    # One composition only: its own energy is met, whatever the shares.
    water = [structure(["H", "H", "O"], -14.0)] * 3
    fitted = reference_energies(water, ["H", "O"])
    assert 2 * fitted[0] + fitted[1] == pytest.approx(-14.0, abs=1e-9)
    assert np.abs(fitted).max() < 10
    # An isolated atom settles its element, the others are fitted with it held.
    alone = [structure(["H"], -13.6, "IsolatedAtom"), structure(["H", "H", "O"], -40.0)]
    np.testing.assert_allclose(reference_energies(alone, ["H", "O"]), [-13.6, -12.8])


def test_validation_split_takes_from_each_group_and_repeats(structures):
    train_part, held_out = split(structures, 0.25, 3)
    assert sorted(s.name for s in train_part + held_out) == sorted(s.name for s in structures)
    assert [s.group for s in held_out].count("rattled") == [s.group for s in held_out].count("strained") == 2
    assert [s.name for s in split(structures, 0.25, 3)[1]] == [s.name for s in held_out]
    assert [s.name for s in split(structures, 0.25, 4)[1]] != [s.name for s in held_out]


def test_every_structure_comes_once_an_epoch(structures):
    prepared = [prepare(s, ("Cu", "Au"), np.zeros(2), CUTOFF) for s in structures]
    shape = common_shape(prepared, 3)
    seen = []
    for part, batch in shuffled_batches(prepared, shape, seed=0, epoch=2):
        assert 0 <= part < 1
        seen += batch.energy[batch.energy_weight > 0].tolist()
    assert sorted(seen) == sorted(np.float32(p.energy).item() for p in prepared)
    assert all(
        sum([5, 3, 9, 2][i] for i in run) <= 32 for run in packs([5, 3, 9, 2], [3, 2, 1, 0], shape) if shape.atoms >= 32
    )


def test_energies_alone_are_enough(structures):
    bare = [dataclasses.replace(s, forces=None, virial=None) for s in structures]
    found = train(bare, TINY, CUTOFF, dataclasses.replace(QUICK, epochs=60)).potential.provenance["metrics"]["train"]
    assert set(found) == {"energy_rmse", "energy_mae"}
    assert found["energy_rmse"] < 0.3 * np.std([s.energy / len(s) for s in bare])


def test_molecules_of_different_sizes_with_isolated_atoms():
    generator = np.random.default_rng(0)
    data = []
    for element, energy in (("H", -13.6), ("O", -430.0), ("N", -270.0)):
        data.append(
            Structure(np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool), (element,), energy, group="IsolatedAtom")
        )
    for n in range(12):
        positions = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [0, 0, 2.0]])[: 3 + n % 2] + generator.normal(
            scale=0.03, size=(3 + n % 2, 3)
        )
        symbols = ("O", "H", "H", "H")[: len(positions)]
        spread = np.linalg.norm(positions[1:] - positions[0], axis=1)
        energy = -457.2 - 10.0 - 13.6 * (n % 2) + ((spread - 0.96) ** 2).sum()
        data.append(Structure(positions, np.zeros((3, 3)), np.zeros(3, bool), symbols, energy))
    result = train(data, TINY, 3.0, dataclasses.replace(QUICK, epochs=40))
    assert result.potential.elements == ("H", "O")
    assert result.potential.reference_energies.tolist() == [-13.6, -430.0]
    assert np.isfinite(result.history[-1]["loss"])


def test_training_that_diverges_says_so(structures):
    mad = [dataclasses.replace(s, energy=s.energy * 1e25, forces=s.forces * 1e25) for s in structures]
    with pytest.raises(TrainingError, match="no longer finite.*learning_rate"):
        train(mad, TINY, CUTOFF, QUICK)


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match="training.learning_rate is -1; it must be > 0 and < 1"):
        Settings(learning_rate=-1)


def test_saved_potential_says_where_it_comes_from(trained, tmp_path):
    trained.potential.save(tmp_path / "a.jaxff")
    origin = Potential.load(tmp_path / "a.jaxff").provenance
    assert origin["n_train"] + origin["n_validation"] == 16
    assert origin["settings"]["epochs"] == 200
    assert len(origin["data_sha256"]) == 64
    json.dumps(origin)
