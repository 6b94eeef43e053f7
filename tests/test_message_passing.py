"""Message-passing networks are potentials: invariant, smooth, differentiable, indifferent to padding, in every layer
count."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from message_passing_potentials import ARCHITECTURES, message_passing_potential

from jax_models import ConfigError
from jax_models.derivatives import energies_and_gradient
from jax_models.models import build
from jax_models.neighborhood import neighborhood_of

NAMES = list(ARCHITECTURES)
CELL = np.array([[5.2, 0.0, 0.0], [0.6, 5.0, 0.0], [-0.4, 0.3, 5.4]])


@pytest.fixture(scope="module", params=NAMES)
def potential(request):
    return message_passing_potential(request.param)


def random_atoms(n: int = 9, seed: int = 0) -> Atoms:
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[generator.permutation(27)[:n]]
    scaled = (grid + generator.uniform(-0.2, 0.2, (n, 3))) / 3
    return Atoms(generator.choice(["Si", "O"], n).tolist(), scaled @ CELL, cell=CELL, pbc=True)


def evaluate(potential, atoms):
    return potential.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols())


def test_energy_does_not_change_under_rotation_reflection_permutation_and_repetition(potential):
    atoms = random_atoms()
    before = evaluate(potential, atoms)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    for turn in (rotation, -rotation):
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ turn)
        turned.set_positions(atoms.positions @ turn)
        after = evaluate(potential, turned)
        assert after["energy"] == pytest.approx(before["energy"], abs=1e-10)
        assert np.abs(after["forces"] - before["forces"] @ turn).max() < 1e-10
        assert np.abs(after["virial"] - turn.T @ before["virial"] @ turn).max() < 1e-10
    order = np.random.default_rng(2).permutation(len(atoms))
    shuffled = evaluate(potential, atoms[order])
    assert np.abs(shuffled["energies"] - before["energies"][order]).max() < 1e-10
    repeated = evaluate(potential, atoms.repeat((2, 1, 1)))
    assert repeated["energy"] == pytest.approx(2 * before["energy"], abs=1e-9)
    assert (
        np.ptp(before["energies"] - potential.reference_energies[potential.species_of(atoms.get_chemical_symbols())])
        > 1e-4
    )


def test_forces_and_virial_are_derivatives_of_the_energy(potential):
    atoms = random_atoms(seed=3)
    values = evaluate(potential, atoms)
    generator = np.random.default_rng(4)
    displacement, strain = generator.normal(size=(len(atoms), 3)), generator.normal(size=(3, 3))
    h = 1e-4

    def energy(step, stretch):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + stretch * strain), scale_atoms=True)
        moved.positions += step * displacement
        return evaluate(potential, moved)["energy"]

    def derivative(function):
        return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)

    assert derivative(lambda x: energy(x, 0)) == pytest.approx(-(values["forces"] * displacement).sum(), rel=1e-6)
    assert derivative(lambda x: energy(0, x)) == pytest.approx((values["virial"] * strain).sum(), rel=1e-6)
    assert np.abs(values["forces"].sum(axis=0)).max() < 1e-10
    assert np.abs(values["virials"].sum(axis=0) - values["virial"]).max() < 1e-10


def test_padding_changes_nothing_and_second_derivatives_are_finite(potential):
    atoms = random_atoms(seed=5)
    with jax.enable_x64(True):
        species = potential.species_of(atoms.get_chemical_symbols())
        nb = neighborhood_of(atoms.positions, atoms.cell.array, True, species, potential.cutoff)
        energy, gradient = energies_and_gradient(potential.energies, nb)
        pad = lambda a, value: np.pad(a, [(0, 0), (0, 5)] + [(0, 0)] * (a.ndim - 2), constant_values=value)  # noqa: E731
        padded = nb._replace(
            vectors=pad(nb.vectors, np.nan),
            neighbor_species=pad(nb.neighbor_species, 0),
            mask=pad(nb.mask, False),
            neighbors=pad(nb.neighbors, 2**30),
        )
        padded_energy, padded_gradient = energies_and_gradient(potential.energies, padded)
        assert np.abs(padded_energy - energy).max() < 1e-12
        assert np.abs(padded_gradient[:, : nb.mask.shape[1]] - gradient).max() < 1e-12
        assert not np.abs(padded_gradient[:, nb.mask.shape[1] :]).any()
        second = jax.grad(lambda nb: (energies_and_gradient(potential.energies, nb)[1] ** 2).sum(), allow_int=True)(
            nb
        ).vectors
        assert np.isfinite(second).all()


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("Si", [[0, 0, 0]]),
        Atoms("SiO", [[0, 0, 0], [0, 0, 60.0]]),
        Atoms("Si3", [[0, 0, 0], [0, 0, 2.0], [0, 0, 3.9]]),
        Atoms("SiO2", [[0, 0, 0], [0, 0, 1.5], [0, 0, -1.5]]),
        bulk("Si", "sc", a=2.4),
        bulk("Si", "diamond", a=5.43),
    ],
    ids=["isolated", "two isolated", "neighbours in one direction", "collinear", "one atom in a cell", "crystal"],
)
def test_special_environments_are_finite(potential, atoms):
    values = evaluate(potential, atoms)
    for name in ("energies", "forces", "virials"):
        assert np.isfinite(values[name]).all()
    if len(atoms) == 1 or atoms.get_all_distances(mic=True).max() > 20 or len(atoms) == 2:
        assert np.abs(values["forces"]).max() < 1e-10


def test_energy_and_force_are_smooth_where_a_neighbour_leaves(potential):
    def force(r):
        return evaluate(potential, Atoms("SiOSi", [[0, 0, 0], [1.6, 0.2, 0.1], [0, r, 0.3]]))["forces"]

    r = np.sqrt(potential.cutoff**2 - 0.3**2)
    h = 1e-5
    slopes = [(force(r + a * h) - force(r + (a - 1) * h)) / h for a in (0, 1)]
    assert np.abs(slopes[1] - slopes[0]).max() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_file_keeps_the_network(name, tmp_path):
    from jax_models import Potential

    potential = message_passing_potential(name)
    potential.save(tmp_path / "m.jaxff")
    loaded = Potential.load(tmp_path / "m.jaxff")
    atoms = random_atoms(seed=6)
    assert loaded.contract == potential.contract
    assert loaded.contract.kind == "message_passing"
    assert np.array_equal(evaluate(loaded, atoms)["forces"], evaluate(potential, atoms)["forces"])


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ({"name": "schnet", "n_interactions": 0}, "n_interactions is 0; it must be between 1 and"),
        ({"name": "painn", "n_rbf": 0}, "n_rbf is 0"),
        ({"name": "painn", "cutoff_fn": "step"}, "cutoff_fn is 'step'; it must be polynomial or cosine"),
        ({"name": "tensornet", "nblocks": -1}, "nblocks is -1; it must be between 0 and 12"),
        ({"name": "schnet", "width": 3}, "has no setting width; it has"),
        (
            {"name": "nequip", "hidden_irreps": "8x0e + 4x2e"},
            "hidden_irreps is '8x0e + 4x2e'; it must give the channels",
        ),
        ({"name": "nequip", "hidden_irreps": "8x0e + 4x1o", "l_max": 0}, "must not go beyond l = l_max = 0"),
        ({"name": "nequip", "self_connection": "none"}, "self_connection is 'none'; it must be species or linear"),
        ({"name": "nequip", "cutoff_fn": "cosine"}, "cutoff_fn is 'cosine'; it must be polynomial or xplor"),
        ({"name": "nequip", "cutoff_fn": "xplor", "xplor_start": 4.0}, "xplor_start is 4.0; it must be between"),
        ({"name": "nothing"}, "unknown architecture 'nothing'; choose from"),
    ],
)
def test_settings_outside_their_range_are_refused(architecture, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        build(architecture, ("Si",), 4.0)


def rotation_of_degree(ell: int, turn: np.ndarray) -> np.ndarray:
    """D with Y_l(x @ turn) = Y_l(x) @ D, fitted to the harmonics themselves (polar axis along y, as in MACE)."""
    from jax_models.basis.angular import spherical_harmonics

    def harmonics(x):
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return np.stack(spherical_harmonics(x[:, 2], x[:, 0], x[:, 1], ell), axis=1)[:, ell**2 :]

    x = np.random.default_rng(0).normal(size=(60, 3))
    return np.linalg.lstsq(harmonics(x), harmonics(x @ turn), rcond=None)[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("painn", {"n_interactions": 3}),
        ("mace", {"hidden_irreps": "4x0e + 4x1o + 4x2e", "num_interactions": 3}),
        ("nequip", {"hidden_irreps": "6x0e + 4x1o + 3x2e", "num_layers": 3}),
    ],
)
def test_features_of_every_layer_and_degree_rotate_as_they_should(name, settings):
    potential = message_passing_potential(name, **settings)
    atoms = random_atoms(seed=7)
    turn = -np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
    with jax.enable_x64(True):
        nb = neighborhood_of(
            atoms.positions,
            atoms.cell.array,
            True,
            potential.species_of(atoms.get_chemical_symbols()),
            potential.cutoff,
        )
        layers = layer_features(potential, nb)
        turned = layer_features(potential, nb._replace(vectors=nb.vectors @ turn))
    for before, after in zip(layers, turned, strict=True):
        assert before.shape[1] == 1 or np.abs(before[:, 1:]).max(axis=(0, 2)).min() > 1e-3
        assert np.abs(after[:, :1] - before[:, :1]).max() < 1e-10
        for ell in range(1, int(np.sqrt(before.shape[1]))):
            d = turn if name == "painn" else rotation_of_degree(ell, turn)
            rows = slice(ell**2, (ell + 1) ** 2)
            assert np.abs(after[:, rows] - np.einsum("nmc,mp->npc", before[:, rows], d)).max() < 1e-10


def layer_features(potential, nb) -> list[np.ndarray]:
    """[N, (l, m), C] of each layer."""
    model = potential.model_in(nb.vectors.dtype)
    own, _ = model.first_layer(nb)
    results = [own]
    for t in range(1, model.n_layers):
        own, _ = model.layer(t, nb, own, model.message(t, own)[nb.neighbors])
        results.append(own)

    def by_component(own):
        if isinstance(own, tuple):  # PaiNN's scalars and vectors
            return np.concatenate([own[0][:, None], own[1]], axis=1)
        if isinstance(own, list):  # NequIP's degrees, which have more channels the lower they are
            return np.concatenate([x[..., : own[-1].shape[-1]] for x in own], axis=1)
        return np.asarray(own)

    return [by_component(own) for own in results]


@pytest.mark.parametrize(("l_max", "order", "degree"), [(3, 2, 0), (3, 3, 0), (2, 4, 0), (3, 3, 1), (2, 3, 2)])
def test_products_are_independent_complete_and_rotate(l_max, order, degree):
    """As many as there are: the count follows from the characters of the symmetric power of the representation."""
    from jax_models.message_passing.symmetric_products import symmetric_products

    polynomials = symmetric_products(l_max, order, degree)
    generator = np.random.default_rng(9)
    a = generator.normal(size=(200, (l_max + 1) ** 2))

    def values(a):
        return np.stack(
            [sum(np.prod(a[:, list(i)], axis=1)[:, None] * c for i, c in p.items()) for p in polynomials], 1
        )

    turn = -np.linalg.qr(generator.normal(size=(3, 3)))[0]
    d = [rotation_of_degree(ell, turn) for ell in range(l_max + 1)]
    turned = np.concatenate([a[:, ell**2 : (ell + 1) ** 2] @ d[ell] for ell in range(l_max + 1)], axis=1)
    assert np.abs(values(turned) - values(a) @ d[degree]).max() < 1e-10 * np.abs(values(a)).max()
    assert np.linalg.matrix_rank(values(a).transpose(0, 2, 1).reshape(-1, len(polynomials))) == len(polynomials)
    assert len(polynomials) == count_by_characters(l_max, order, degree)


def count_by_characters(l_max: int, order: int, degree: int) -> int:
    """Multiplicity of ``degree`` (natural parity) in the symmetric power, by integrating characters over O(3)."""
    angles, total = (np.arange(400) + 0.5) * np.pi / 400, 0.0
    for parity in (1, -1):
        power = []
        for k in range(1, order + 1):
            chi = sum(
                (parity**ell) ** k * sum(np.cos(m * k * angles) for m in range(-ell, ell + 1))
                for ell in range(l_max + 1)
            )
            power.append(chi)
        symmetric = [np.ones_like(angles)]  # Newton's identities for the complete symmetric polynomials
        for n in range(1, order + 1):
            symmetric.append(sum(power[k - 1] * symmetric[n - k] for k in range(1, n + 1)) / n)
        wanted = parity**degree * sum(np.cos(m * angles) for m in range(-degree, degree + 1))
        total += 0.5 * np.mean(symmetric[order] * wanted * (1 - np.cos(angles)))
    return round(total)
