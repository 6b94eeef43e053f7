"""Grade, members and expected errors: what they mean, from their definitions, and that a file gives them back."""

from __future__ import annotations

import dataclasses
import io
import zipfile

import jax
import numpy as np
import pytest
from ase.build import bulk
from conftest import make_grid_potential, make_potential
from jax.flatten_util import ravel_pytree
from scipy.spatial.transform import Rotation
from strategy_potentials import GRID
from training_data import TINY, emt_frames, emt_structures
from uncertain_potentials import CELL, bare, doubtful, knowing, structures_labelled_by
from whole_cell_potentials import whole_cell_potential

from jax_models import ConfigError, ModelFileError, Potential
from jax_models.contract import GRADED, SPREADS
from jax_models.heads import with_head
from jax_models.neighborhood import neighbor_pairs, neighborhood_of
from jax_models.training.data.batches import common_shape, prepare
from jax_models.training.gradient.metrics import fixed_batches
from jax_models.training.gradient.trainer import train
from jax_models.training.linear.least_squares import Ridge
from jax_models.training.linear.linear_trainer import train_linear
from jax_models.training.settings import Settings
from jax_models.training.uncertainty import with_uncertainty
from jax_models.training.uncertainty.measurement import some_of
from jax_models.uncertainty import Grade

CUTOFF = 4.2
QUICK = Settings(epochs=40, batch_structures=4, heads=4)
KINDS = ("ace", "schnet", "painn", "mace")
ASKED = ("energy", "forces", "virial", *GRADED, *SPREADS)


@pytest.fixture(scope="module")
def parts():
    """What is trained on, and what is not."""
    structures = emt_structures(64)
    return structures[:44], structures[44:]


@pytest.fixture(scope="module")
def trained(parts):
    seen, held_out = parts
    return train(seen, TINY, CUTOFF, QUICK, validation=held_out).potential


@pytest.fixture(scope="module")
def sure(trained, parts):
    return with_uncertainty(trained, *parts, QUICK)


@pytest.fixture(scope="module", params=KINDS)
def potential(request):
    """Of each kind, not trained."""
    make = knowing if request.param in ("ace", "painn") else doubtful
    return make(bare(request.param))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["schnet", "mace", "tensornet"])
def test_other_networks_learn_their_errors_too(kind):
    found = knowing(bare(kind))
    assert found.provenance["uncertainty"]["coverage"] >= 0.9
    heads = np.asarray(found.uncertainty.heads, float)
    assert np.abs(heads.sum(axis=0)).max() <= 1e-6 * np.abs(heads).max()


@pytest.fixture(scope="module")
def sample():
    return structures_labelled_by(bare("ace"), 1, seed=5)[0]


def told(potential, s, double=True):
    return potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols), double, ASKED)


def grades(potential, atoms):
    found = potential.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, list(atoms.symbols), outputs=GRADED)
    return found["extrapolation_grade"]


def test_the_grade_is_a_distance_of_mahalanobis():
    """With as many directions as features it is the distance that textbooks have."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(6, 6))
    features = generator.normal(size=(4000, 6)) @ mixing + 3.0
    species = np.arange(4000) % 2
    grade = Grade.of(features, species, 2)
    probes = generator.normal(size=(50, 6)) @ mixing * 2.0
    for element in range(2):
        own = features[species == element]
        inverse = np.linalg.inv(np.cov(own.T, bias=True))
        distances = np.sqrt(np.einsum("ni,ij,nj->n", probes - own.mean(0), inverse, probes - own.mean(0)))
        inside = np.sqrt(np.einsum("ni,ij,nj->n", own - own.mean(0), inverse, own - own.mean(0)))
        expected = distances / np.quantile(inside, 0.99)
        np.testing.assert_allclose(grade(probes, np.full(50, element)), expected, rtol=0.02)


def test_an_element_without_atoms_is_measured_by_the_others():
    features = np.random.default_rng(0).normal(size=(500, 4))
    grade = Grade.of(features, np.zeros(500, int), 2)
    np.testing.assert_allclose(grade(features, np.zeros(500, int)), grade(features, np.ones(500, int)))


def test_what_is_like_the_training_has_a_grade_below_one(sure, parts):
    seen, fresh = (np.concatenate([told(sure, s)["extrapolation_grade"] for s in part]) for part in parts)
    assert np.mean(seen < 1) == pytest.approx(0.99, abs=0.01)
    assert np.mean(fresh < 1) > 0.9


@pytest.mark.parametrize("stretch", [0.8, 1.1])
def test_a_stretched_bond_is_seen_where_it_is(sure, stretch):
    atoms = bulk("Cu", a=3.8, cubic=True) * 2
    calm = grades(sure, atoms)
    atoms.positions[0, 0] += stretch
    found = grades(sure, atoms)
    assert (calm < 1).all()
    assert found[0] > 1
    assert found[0] > np.median(found)


def test_a_new_surrounding_is_seen(sure):
    crystal = bulk("Cu", a=3.8, cubic=True) * 2
    surface = crystal.copy()
    surface.center(vacuum=6.0, axis=2)
    outside = grades(sure, surface) > 1
    height = surface.positions[:, 2]
    at_a_face = (height < height.min() + 0.1) | (height > height.max() - 0.1)
    np.testing.assert_array_equal(outside, at_a_face)
    assert grades(sure, crystal[:1]).min() > 1


def test_one_crystal_is_enough_to_know_its_neighbourhood(trained):
    """Its features do not vary at all: the grade must not divide by that."""
    crystal = emt_structures(1)[0]
    perfect = bulk("Cu", a=3.8, cubic=True)
    labels = trained.evaluate(perfect.positions, perfect.cell.array, True, list(perfect.symbols))
    only = dataclasses.replace(
        crystal, positions=perfect.positions, cell=perfect.cell.array, symbols=tuple(perfect.symbols), energy=0.0,
        forces=np.zeros((4, 3)), virial=labels["virial"],
    )  # fmt: skip
    known = with_uncertainty(trained, [only], settings=QUICK)
    assert grades(known, perfect).max() <= 1
    stretched = perfect * 2
    stretched.positions[0, 0] += 0.8
    assert grades(known, stretched)[0] > 1
    assert grades(known, emt_frames(1, seed=3)[0]).max() < grades(known, perfect[:1]).max()


def test_rotations_do_not_matter(potential, sample):
    turn = Rotation.random(random_state=1).as_matrix()
    turned = dataclasses.replace(sample, positions=sample.positions @ turn.T, cell=sample.cell @ turn.T)
    before, after = told(potential, sample), told(potential, turned)
    for name in (*GRADED, "energy_std"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5)
    sizes = [np.linalg.norm(found["forces_std"]) for found in (before, after)]
    assert sizes[0] > 0
    # Components of standard deviations do not rotate as a vector does, but variances have a trace.
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-5)


def test_of_many_structures_some_are_looked_at(parts, trained):
    """A million atoms are not held: batches are drawn until there are enough, from all of the data."""
    prepared = [prepare(s, trained.elements, trained.reference_energies, CUTOFF) for s in parts[0]]
    batches = fixed_batches(prepared, common_shape(prepared, 2))
    count = lambda batch: int(np.sum(batch.n_atoms[batch.energy_weight > 0]))  # noqa: E731
    atoms = [sum(map(count, some_of(batches, most, 0))) for most in (20, 60, 10**6)]
    assert 20 <= atoms[0] < 20 + max(map(count, batches))
    assert 60 <= atoms[1] < 60 + max(map(count, batches))
    assert atoms[2] == sum(map(len, parts[0]))
    assert some_of(batches, 20, 0)[0] is not some_of(batches, 20, 1)[0]


def test_the_potential_stays_what_it_was(trained, sure, parts):
    for s in parts[1][:3]:
        before = trained.evaluate(s.positions, s.cell, True, list(s.symbols))
        after = sure.evaluate(s.positions, s.cell, True, list(s.symbols))
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, err_msg=name)
        np.testing.assert_allclose(told(sure, s)["forces"], before["forces"], atol=1e-12)


def test_heads_sum_to_zero(potential):
    heads = np.asarray(potential.uncertainty.heads, float)
    assert np.abs(heads).max() > 0
    assert np.abs(heads.sum(axis=0)).max() <= 1e-6 * np.abs(heads).max()


def members_of(potential):
    """Each member as a potential of its own."""
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), potential.model.head()))
    with jax.enable_x64(True):
        flat = np.asarray(flat, float)
        models = [with_head(potential.model, unravel(flat + np.asarray(h, float))) for h in potential.uncertainty.heads]
    return [dataclasses.replace(potential, model=model, uncertainty=None) for model in models]


def test_spreads_are_those_of_the_members_own_potentials(potential, sample):
    found, scale = told(potential, sample), float(potential.uncertainty.spread)
    members = members_of(potential)
    each = [m.evaluate(sample.positions, sample.cell, True, list(sample.symbols)) for m in members]
    for name, of in (("energy_std", "energy"), ("forces_std", "forces"), ("virial_std", "virial")):
        spread = np.std([one[of] for one in each], axis=0, ddof=1)
        np.testing.assert_allclose(found[name], scale * spread, rtol=1e-4, atol=1e-6 * np.max(scale * spread))
    # The mean of the members is the potential, as well as single precision holds their differences.
    spread = np.std([one["forces"] for one in each])
    np.testing.assert_allclose(np.mean([one["forces"] for one in each], axis=0), found["forces"], atol=1e-5 * spread)
    # And their forces are the slopes of their energies.
    step, slopes = 1e-4, np.zeros((len(members), 2))
    for n, member in enumerate(members):
        for k, (atom, axis) in enumerate(((0, 0), (7, 2))):
            energies = []
            for sign in (1, -1):
                moved = sample.positions.copy()
                moved[atom, axis] += sign * step
                energies.append(member.evaluate(moved, sample.cell, True, list(sample.symbols))["energy"])
            slopes[n, k] = -(energies[0] - energies[1]) / (2 * step)
    spread = scale * slopes.std(axis=0, ddof=1)
    np.testing.assert_allclose([found["forces_std"][0, 0], found["forces_std"][7, 2]], spread, rtol=2e-3)


def test_grades_by_layers_and_blocks_are_those_of_the_whole(potential, sample):
    """The engines' way, in blocks and layers, and the model's own function of all atoms at once."""
    species = potential.species_of(list(sample.symbols))
    with jax.enable_x64(True):
        nb = neighborhood_of(sample.positions, CELL, True, species, potential.cutoff)
        features = potential.model_in(np.float64).energies_and_features(nb)[1]
        grade = potential.uncertainty.grade
        product = np.einsum("nf,nfd->nd", np.asarray(features), np.asarray(grade.projection, float)[species])
        expected = np.linalg.norm(product - np.asarray(grade.offset, float)[species], axis=1)
    np.testing.assert_allclose(told(potential, sample)["extrapolation_grade"], expected, rtol=1e-9)
    single = told(potential, sample, double=False)["extrapolation_grade"]
    np.testing.assert_allclose(single, expected, rtol=2e-3)


def test_the_expected_error_is_its_formula(potential, sample):
    found, u = told(potential, sample), potential.uncertainty
    a, b = map(float, u.exponents)
    squared = (found["forces"] ** 2).sum(axis=1) + float(u.smallest_force) ** 2
    grade = found["extrapolation_grade"]
    # Half of the square is the atom's own, half its neighbours'.
    i, j, _ = neighbor_pairs(sample.positions, sample.cell, sample.periodic, potential.cutoff)
    around = np.bincount(i, grade[j] ** 2, len(grade)) / np.bincount(i, minlength=len(grade))
    g = np.sqrt((grade**2 + around) / 2)
    expected = float(u.bar) * np.where(g < 1, g**a, g) * squared ** (b / 2)
    np.testing.assert_allclose(found["forces_expected_error"], expected, rtol=1e-12)


def test_nine_of_ten_held_out_atoms_have_a_smaller_error(sure, parts):
    inside = []
    for s in parts[1]:
        found = told(sure, s, double=False)
        inside.append(np.linalg.norm(found["forces"] - s.forces, axis=1) <= found["forces_expected_error"])
    inside = np.concatenate(inside)
    facts = sure.provenance["uncertainty"]
    assert facts["atoms"] == len(inside)
    assert facts["calibrated_on"] == "held-out structures"
    assert facts["coverage"] == pytest.approx(inside.mean(), abs=1.5 / len(inside))
    assert 0.9 <= facts["coverage"] < 0.95


def test_where_nothing_is_held_out_training_errors_are_enlarged(trained, parts):
    facts = with_uncertainty(trained, parts[0][:12], settings=QUICK).provenance["uncertainty"]
    assert "training structures, errors times" in facts["calibrated_on"]
    assert facts["held_out_structures"] == 0
    assert float(facts["calibrated_on"].split()[-1]) >= 1.0


def test_without_forces_the_members_say_what_is_known(trained, parts):
    seen, held_out = ([dataclasses.replace(s, forces=None) for s in part[:12]] for part in parts)
    found = with_uncertainty(trained, seen, held_out, QUICK)
    assert "want of forces" in found.provenance["uncertainty"]["calibrated_with"]
    assert told(found, parts[1][0])["forces_expected_error"].min() > 0


def test_what_has_no_features_of_atoms_is_refused(parts, trained):
    grid = make_grid_potential(("Si", "O"), 3.4, GRID)
    structures = structures_labelled_by(bare("ace"), 2)
    for potential in (grid, whole_cell_potential(("Si", "O"))):
        with pytest.raises(ConfigError, match="belong to no atom"):
            with_uncertainty(potential, structures)
    lonely = dataclasses.replace(parts[0][0], group="IsolatedAtom")
    lonely = dataclasses.replace(lonely, positions=lonely.positions[:1], symbols=("Cu",), forces=None, virial=None)
    with pytest.raises(ConfigError, match="isolated atoms alone"):
        with_uncertainty(trained, [lonely])
    with pytest.raises(ConfigError, match="heads is 1"):
        Settings(heads=1)
    with pytest.raises(ConfigError, match="heads is 0"):
        with_uncertainty(trained, parts[0], settings=Settings(heads=0))


@pytest.mark.parametrize("double", [False, True])
def test_a_file_gives_it_back(potential, sample, double, tmp_path):
    potential.save(tmp_path / "p.jaxff")
    loaded = Potential.load(tmp_path / "p.jaxff")
    assert loaded.contract == potential.contract
    assert set(GRADED + SPREADS) <= set(loaded.contract.outputs)
    before, after = told(potential, sample, double), told(loaded, sample, double)
    for name in ASKED:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    loaded.save(tmp_path / "again.jaxff")
    assert (tmp_path / "again.jaxff").read_bytes() == (tmp_path / "p.jaxff").read_bytes()


def test_a_lost_or_changed_uncertainty_is_named(sure):
    data = sure.to_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members, comment = {name: file.read(name) for name in file.namelist()}, file.comment
    name = "uncertainty.safetensors"
    changed = members[name][:-1] + bytes([members[name][-1] ^ 1])
    for part in ({}, {name: changed}, {name: b""}):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as file:
            for member, content in ({k: v for k, v in members.items() if k != name} | part).items():
                file.writestr(member, content)
            file.comment = comment
        with pytest.raises(ModelFileError, match=f"p.jaxff.*{name}"):
            Potential.from_bytes(target.getvalue(), "p.jaxff")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("heads", lambda a: a[:, 1:], "heads has shape"),
        ("heads", lambda a: a[:1], "one member"),
        ("bar", lambda a: np.float32(np.nan), "bar is not finite"),
        ("bar", lambda a: np.float32(-1.0), "bar is negative"),
        ("exponents", lambda a: a[:1], "exponents has shape"),
        ("projection", lambda a: a[:1], "grade_projection has shape|grade_offset has shape"),
        ("projection", lambda a: a[:, 1:], "grade_projection has shape"),
    ],
)
def test_an_uncertainty_of_another_potential_is_refused(sure, name, change, words):
    u = sure.uncertainty
    if name == "projection":
        u = dataclasses.replace(u, grade=dataclasses.replace(u.grade, projection=change(u.grade.projection)))
    else:
        u = dataclasses.replace(u, **{name: change(getattr(u, name))})
    with pytest.raises(ModelFileError, match=words):
        Potential.from_bytes(dataclasses.replace(sure, uncertainty=u).to_bytes(), "p.jaxff")


def test_draws_of_a_linear_model_have_its_covariance():
    generator = np.random.default_rng(0)
    rows = np.column_stack([generator.normal(size=(300, 5)) * [1, 2, 3, 0.5, 0.1], generator.normal(size=300)])
    drawn = Ridge.of(rows).draw(0.0, 40_000, seed=1)
    covariance = np.linalg.inv(rows[:, :5].T @ rows[:, :5])
    sizes = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(np.cov(drawn.T) / np.outer(sizes, sizes), covariance / np.outer(sizes, sizes), atol=0.03)


def test_a_linear_model_knows_its_errors(parts):
    linear = {**TINY, "readout": {"name": "linear"}}
    seen, held_out = parts
    seen, held_out = seen[:12], held_out[:6]
    fit = train_linear(seen, linear, CUTOFF, QUICK)
    found = with_uncertainty(fit.potential, seen, held_out, QUICK, fit.heads)
    assert found.provenance["uncertainty"]["members"] == 4
    assert found.provenance["uncertainty"]["coverage"] >= 0.9
    np.testing.assert_allclose(fit.heads.sum(axis=0), 0.0, atol=1e-9 * np.abs(fit.heads).max())
    assert told(found, held_out[0])["forces_std"].min() > 0


def test_one_seed_gives_the_same_members_another_gives_others(trained, sure, parts):
    again = with_uncertainty(trained, *parts, QUICK)
    np.testing.assert_array_equal(again.uncertainty.heads, sure.uncertainty.heads)
    other = with_uncertainty(trained, *parts, dataclasses.replace(QUICK, seed=1))
    assert np.abs(other.uncertainty.heads - again.uncertainty.heads).max() > 0


def test_an_old_file_says_that_it_knows_nothing(sample):
    plain = make_potential(("Si", "O"))
    assert not plain.contract.uncertainty
    assert not set(GRADED + SPREADS) & set(plain.contract.outputs)
    with pytest.raises(ConfigError, match="gives no extrapolation_grade"):
        told(plain, sample)
