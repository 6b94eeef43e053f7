"""Training with teachers: their energies are brought to DFT's scale, the right one is believed, and few labels go
further."""

from __future__ import annotations

import dataclasses
from collections import Counter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_grid_potential
from training_data import TINY, emt_structures
from whole_cell_potentials import whole_cell_potential

from jax_models import ConfigError, DatasetError, Potential
from jax_models.heads import Heads, only_head
from jax_models.models import build
from jax_models.training.data.batches import common_shape, pack, prepare
from jax_models.training.gradient.trainer import train
from jax_models.training.settings import Settings
from jax_models.training.teachers.alignment import aligned_factor, aligned_references
from jax_models.training.teachers.knowledge_settings import Knowledge
from jax_models.training.teachers.teacher_labels import TeacherLabels, aligned, energy_errors, ranking
from jax_models.training.teachers.teacher_training import train_with_knowledge
from jax_models.training.teachers.weak import TUKEY, robust_mean

CUTOFF = 4.2
QUICK = Settings(epochs=4, batch_structures=2, validation_fraction=0.0)
NAMES = ["right_when_strained", "right_when_rattled", "wild"]
SCHNET = {"name": "schnet", "n_atom_basis": 8, "n_interactions": 2, "n_rbf": 6}
SHIFT = {"Cu": 2.0, "Au": -1.0}
"""eV an atom by which the teachers' zero of energy differs."""


def taught(labelled, count=24):
    """EMT as DFT. A teacher that is right (but for its zero) about strained cells and off for others; one the other way
    round; one that is far off, and sometimes silent."""
    generator = np.random.default_rng(0)
    result = []
    for number, s in enumerate(emt_structures(count)):
        shift = sum(SHIFT[symbol] for symbol in s.symbols)
        wrong = generator.normal(scale=0.5, size=(2, 4, 3))
        wrong_by = 1.2 * (-1) ** (number // 4)
        off = {"strained": (0.0, wrong_by), "rattled": (wrong_by, 0.0)}[s.group]
        energies = np.array(
            [s.energy + shift + off[0], s.energy + shift + off[1], 9e9 * (number + 1) ** 2 if number % 3 else np.nan]
        )
        forces = np.stack(
            [s.forces + (off[k] != 0) * wrong[k] for k in (0, 1)] + [np.full((4, 3), 9e9 if number % 3 else np.nan)],
            axis=1,
        )
        virials = np.stack([s.virial, s.virial, np.full((3, 3), np.nan)])
        bare = {} if number < labelled else {"energy": np.nan, "forces": None, "virial": None}
        result.append(TeacherLabels(dataclasses.replace(s, **bare), energies, forces, virials))
    return result[:labelled], result[labelled:]


def run(strategy, labelled=8, settings=QUICK, architecture=TINY, **more):
    known, others = taught(labelled)
    weight = more.pop("weight", (0.1,))
    more.setdefault("scale", False)  # what is off by as much as the energies differ has no scale
    keywords = {key: more.pop(key) for key in ("checkpoint", "progress", "validation", "start") if key in more}
    return train_with_knowledge(
        known, others, NAMES, architecture, CUTOFF, settings, Knowledge(strategy, weight=weight, **more), **keywords
    )


def numbers(potential):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(potential.model, eqx.is_array))]


def test_teachers_are_brought_to_the_scale_of_dft():
    known, others = taught(8)
    moved = aligned([*known, *others], ["Cu", "Au"], largest=200.0, scale=False)
    errors = energy_errors(moved[:8])
    expected = np.array([[0.0, 0.3] if t.structure.group == "strained" else [0.3, 0.0] for t in known])
    assert np.abs(errors[:, :2] - expected).max() < 0.1
    assert np.isinf(errors[:, 2]).all(), "energies of 9e9 eV are no labels"
    assert ranking(moved)[2] == 2
    # One energy that diverged does not spoil the scale of the others.
    diverged = dataclasses.replace(known[0], energies=known[0].energies + [0.0, 1e7, 0.0])
    again = energy_errors(aligned([diverged, *known[1:]], ["Cu", "Au"], largest=200.0, scale=False))
    assert np.isinf(again[0, 1]) and np.abs(again[1:, 1] - expected[1:, 1]).max() < 0.1
    exact = aligned_references(np.array([[4.0, 0.0], [3.0, 1.0]]), np.array([8.0, 5.0]))
    np.testing.assert_allclose(exact, [2.0, -1.0])


def test_a_teacher_that_is_too_stiff_is_scaled_and_few_labels_do_not_mislead():
    stiff = [
        TeacherLabels(
            s,
            np.array([2.5 * s.energy + 3.0 * len(s), -s.energy]),
            np.stack([2.5 * s.forces] * 2, axis=1),
            np.stack([2.5 * s.virial] * 2),
        )
        for s in emt_structures(12)
    ]
    moved = aligned(stiff, ["Cu", "Au"], largest=200.0)
    errors = energy_errors(moved)
    assert errors[:, 0].max() < 1e-3 and np.isinf(errors[:, 1]).all(), (
        "a teacher that has it the wrong way round is not listened to"
    )
    np.testing.assert_allclose(moved[0].forces[:, 0], moved[0].structure.forces, atol=0.02)
    generator = np.random.default_rng(0)
    counts, energies = np.ones((100, 6, 1)), generator.normal(size=(100, 6))
    # Noise of half the energies' spread about a factor of 1: a ridge fit is closer to it than least squares.
    found = [
        (aligned_factor(c, e, e + n) - 1.0, (e - e.mean()) @ n / np.sum((e - e.mean()) ** 2))
        for c, e, n in zip(counts, energies, generator.normal(scale=0.5, size=(100, 6)), strict=True)
    ]
    ridge, plain = np.sqrt(np.mean(np.square(found), axis=0))
    assert ridge < 0.9 * plain


def test_one_trunk_gives_what_each_model_would():
    model = build(TINY, ("Cu", "Au"), CUTOFF)
    heads = Heads.of(model, 3)
    generator = np.random.default_rng(0)
    heads = eqx.tree_at(
        lambda h: h.heads,
        heads,
        jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32), heads.heads),
    )
    prepared = [prepare(s, ("Cu", "Au"), np.zeros(2), CUTOFF) for s in emt_structures(3)]
    nb = pack(prepared, common_shape(prepared, 3)).neighborhood
    outputs = heads.outputs(nb)
    for index in range(3):
        np.testing.assert_allclose(outputs[:, index], heads.at(index).energies(nb), rtol=1e-5, atol=1e-5)
    chosen = jax.tree.leaves(only_head(model))
    assert 0 < sum(chosen) < len(chosen)


def test_the_robust_loss_is_a_mean_square_that_forgets_outliers():
    generator = np.random.default_rng(0)
    small = jnp.asarray(generator.normal(scale=1e-3, size=400))
    used = jnp.ones(400, bool)
    assert float(robust_mean(small, used)) == pytest.approx(float(jnp.mean(small**2)), rel=0.15)
    wild = small.at[:40].set(1.0)
    slope = jax.grad(lambda r: robust_mean(r, used))(wild)
    assert np.abs(slope[:40]).max() == 0.0 and np.abs(slope[40:]).max() > 0
    assert float(robust_mean(wild, used)) < (TUKEY * 2e-3) ** 2
    # What is not used may be anything.
    assert float(robust_mean(wild.at[:40].set(jnp.nan), used.at[:40].set(False))) == pytest.approx(
        float(jnp.mean(small[40:] ** 2)), rel=0.15
    )
    assert float(robust_mean(small, ~used)) == 0.0


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_few_labels_that_are_off_alike_are_not_outliers(number):
    """A teacher's bias of one, and a scatter of a fifth of it: all must pull the network."""
    generator = np.random.default_rng(number)
    residuals = jnp.asarray(1.0 + 0.2 * generator.normal(size=(500, number)))
    slopes = jax.vmap(jax.grad(lambda r: robust_mean(r, jnp.ones(number, bool))))(residuals)
    assert np.mean(np.asarray(slopes) == 0) == 0


@pytest.mark.parametrize("choice", ["structure", "environment"])
def test_the_classifier_learns_whom_to_believe(choice):
    settings = dataclasses.replace(QUICK, epochs=30)
    origin = run("weak", settings=settings, choice=choice, classifier_weight=1.0).potential.provenance["knowledge"]
    for part in ("right", "unlabelled"):
        for group in ("strained", "rattled"):
            counts = origin["choices"][part][group]
            assert max(counts, key=counts.get) == f"right_when_{group}"
            assert counts.get("wild", 0) == 0
    assert origin["teachers"]["wild"]["labels"] == 0


@pytest.mark.parametrize(("strategy", "architecture"), [("both", TINY), ("both", SCHNET), ("delta", SCHNET)])
def test_descriptor_networks_and_message_passing_learn_from_teachers(strategy, architecture):
    training = run(strategy, architecture=architecture)
    potential = training.potential
    assert np.isfinite(training.history[-1]["loss"])
    assert potential.provenance["knowledge"]["strategy"] == strategy
    assert ("delta" in potential.provenance) is (strategy == "delta")
    s = emt_structures(1)[0]
    assert np.isfinite(potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))["forces"]).all()


def test_energies_alone_are_enough():
    known, others = taught(8)
    bare = [dataclasses.replace(t, structure=dataclasses.replace(t.structure, forces=None, virial=None)) for t in known]
    for strategy in ("weak", "transfer"):
        knowledge = Knowledge(strategy, forces=False, weight=(0.1,), scale=False)
        found = train_with_knowledge(bare, others, NAMES, TINY, CUTOFF, QUICK, knowledge).potential.provenance[
            "metrics"
        ]["train"]
        assert set(found) == {"energy_rmse", "energy_mae"}


def test_pretraining_on_a_good_teacher_halves_the_error_of_few_labels():
    settings = dataclasses.replace(QUICK, epochs=60)
    test = emt_structures(12, seed=5)
    known, others = taught(4)

    def error(potential):
        found = [potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols)) for s in test]
        return np.sqrt(np.mean(np.concatenate([f["forces"] - s.forces for f, s in zip(found, test, strict=True)]) ** 2))

    right = [
        dataclasses.replace(
            t, energies=np.where(np.arange(3) < 2, s.energy, np.nan), forces=np.stack([s.forces] * 3, 1)
        )
        for t, s in zip([*known, *others], emt_structures(24), strict=True)
    ]
    plain = train([t.structure for t in known], TINY, CUTOFF, settings).potential
    taught_by = train_with_knowledge(
        right[:4], right[4:], NAMES, TINY, CUTOFF, settings, Knowledge("transfer")
    ).potential
    assert error(taught_by) < 0.5 * error(plain)


def test_a_frozen_trunk_stays_as_pretraining_left_it():
    start = run("transfer").potential
    settings = dataclasses.replace(QUICK, trunk="frozen")
    after = train(emt_structures(8), {}, 0.0, settings, start=start).potential
    changed = [not np.array_equal(a, b) for a, b in zip(numbers(start), numbers(after), strict=True)]
    assert changed == [
        bool(flag)
        for leaf, flag in zip(jax.tree.leaves(start.model), jax.tree.leaves(only_head(start.model)), strict=True)
        if eqx.is_array(leaf)
    ]
    free = train(emt_structures(8), {}, 0.0, QUICK, start=start).potential
    assert sum(not np.array_equal(a, b) for a, b in zip(numbers(start), numbers(free), strict=True)) > sum(changed)


def test_a_delta_model_learns_what_its_teacher_misses():
    """A teacher that is right but for its zero of energy leaves nothing but that zero."""
    known, _ = taught(8)
    strained = [t for t in known if t.structure.group == "strained"]
    potential = train_with_knowledge(
        strained, [], NAMES, TINY, CUTOFF, QUICK, Knowledge("delta", teacher=NAMES[0])
    ).potential
    assert potential.provenance["delta"] == {"teacher": NAMES[0]}
    for t in strained:
        s = t.structure
        found = potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))
        assert found["energy"] + t.energies[0] == pytest.approx(s.energy, abs=0.01)
        np.testing.assert_allclose(found["forces"], 0.0, atol=0.01)


@pytest.mark.slow
def test_the_weight_is_chosen_by_validation():
    origin = run("weak", weight=(0.01, 100.0), settings=dataclasses.replace(QUICK, epochs=20)).potential.provenance[
        "knowledge"
    ]
    losses = origin["validation_loss"]
    assert set(losses) == {"0.01", "100"}
    assert f"{origin['weight']:g}" == min(losses, key=losses.get)
    stages = []
    run(
        "weak",
        weight=(0.0, 0.1),
        settings=dataclasses.replace(QUICK, epochs=5),
        progress=lambda r, n: stages.append((r["stage"], n)),
    )
    # Few labels: each is set aside once, in trainings that together are as long as one.
    assert Counter(stages) == {("training", 5): 5} | {
        (f"weight-{w}-{fold}", 1): 1 for w in ("0", "0.1") for fold in range(5)
    }


def test_teachers_whose_expected_error_is_too_large_are_not_heard():
    origin = run("weak", scale=True, none_above=1e-4).potential.provenance["knowledge"]
    assert origin["weight"] == 0.0 and "choices" not in origin
    known, others = taught(8)
    heard = [aligned([*known, *others], ["Cu", "Au"], 200.0, uncertain=limit) for limit in (np.inf, 0.5, 1e-4)]
    spoken = [sum(np.isfinite(t.energies[:2]).sum() for t in all_of_them[8:]) for all_of_them in heard]
    assert spoken[0] == 2 * len(others) >= spoken[1] > spoken[2] == 0
    assert all(np.isfinite(t.energies[:2]).all() for t in heard[2][:8]), "on labelled structures they are judged"


def test_an_interrupted_strategy_resumes_at_its_stage_to_the_same_numbers(tmp_path):
    expected, seen = [], []
    whole = run("both", progress=lambda r, n: expected.append((r["stage"], r["epoch"]))).potential

    def interrupt(record, epochs):
        if record["stage"] == "training" and record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("both", checkpoint=tmp_path / "c", progress=interrupt)
    resumed = run(
        "both", checkpoint=tmp_path / "c", progress=lambda r, n: seen.append((r["stage"], r["epoch"]))
    ).potential
    assert all(np.array_equal(a, b) for a, b in zip(numbers(whole), numbers(resumed), strict=True))
    assert seen == expected
    assert {stage for stage, _ in seen} == {"pretraining", "training"}


def test_what_a_strategy_lacks_is_said():
    known, others = taught(8)
    silent = [dataclasses.replace(t, energies=t.energies * np.nan) for t in known]
    arguments = NAMES, TINY, CUTOFF, QUICK
    with pytest.raises(DatasetError, match="no labelled structure has an energy of the teachers right_when_strained"):
        train_with_knowledge(silent, others, *arguments, Knowledge("weak"))
    with pytest.raises(DatasetError, match="needs structures that teachers have labelled and DFT has not"):
        train_with_knowledge(known, [], *arguments, Knowledge("weak"))
    with pytest.raises(
        ConfigError, match="knowledge.teachers names nobody; the data have labels of right_when_strained"
    ):
        train_with_knowledge(known, others, *arguments, Knowledge("weak", teachers=("nobody",)))
    with pytest.raises(DatasetError, match="lacks the energy or forces of wild"):
        train_with_knowledge(known, others, *arguments, Knowledge("delta", teacher="wild"))
    bare = [dataclasses.replace(t, structure=dataclasses.replace(t.structure, forces=None, virial=None)) for t in known]
    with pytest.raises(DatasetError, match="choice environment judges teachers by forces, but frame 0 has none"):
        train_with_knowledge(bare, others, *arguments, Knowledge("weak", choice="environment"))
    with pytest.raises(ConfigError, match="knowledge.strategy is 'magic'; it must be none or weak"):
        Knowledge("magic")
    with pytest.raises(ConfigError, match=r"knowledge.weight is \[-1\]"):
        Knowledge("weak", weight=(-1,))


@pytest.mark.parametrize("strategy", ["weak", "transfer", "both"])
def test_a_start_that_looks_from_a_grid_is_refused(strategy):
    """Teachers' labels are batched atom by atom: points of a grid, given as the start, would be trained as atoms."""
    start = make_grid_potential(
        ("Cu", "Au"), CUTOFF, {"descriptor": {"name": "gmp"}, "reference_points": {"name": "grid", "spacing": 0.7}}
    )
    with pytest.raises(ConfigError, match=f"{strategy} does not train models that look from a grid"):
        run(strategy, start=start)


@pytest.mark.parametrize("strategy", ["weak", "transfer", "both", "delta"])
def test_starts_that_hold_no_trainable_model_are_refused(strategy):
    exported = Potential.from_function(lambda nb: jnp.sum(nb.mask, axis=-1) * 1.0, ["Cu", "Au"], CUTOFF)
    with pytest.raises(ConfigError, match="an exported potential holds compiled code"):
        run(strategy, start=exported)
    whole = whole_cell_potential(("Cu", "Au"))
    with pytest.raises(ConfigError, match="a model of whole cells is not trained by gradients"):
        run(strategy, start=whole)
