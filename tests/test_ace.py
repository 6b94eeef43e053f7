"""ACE: its definition written out in NumPy, what every descriptor promises, and what it can tell apart."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from descriptor_invariants import check_descriptor, cluster
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_models import ConfigError
from jax_models.basis.angular import real_coupling, spherical_harmonics
from jax_models.derivatives import energies_and_gradient
from jax_models.descriptors.ace import ACE
from jax_models.neighborhood import Neighborhood, neighborhood_of


def make(elements, cutoff=4.5, **arguments):
    return ACE(elements, cutoff, **{"n_radial": 4, "n_channels": 3, "key": jax.random.PRNGKey(1)} | arguments)


def sphere(degree):
    """Points and weights that integrate polynomials of ``degree`` over directions exactly; the weights sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    phi = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    cosine, angle = (v.ravel() for v in np.meshgrid(nodes, phi, indexing="ij"))
    sine = np.sqrt(1 - cosine**2)
    points = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], 1)
    return points, np.repeat(weights / 2, len(phi)) / len(phi)


def by_definition(ace, vectors, species, neighbor_species):
    """No harmonics and no couplings: f_l(n) = sum_j R_l(r_j) P_l(n . r_j / r_j) is the l part of the density along n.
    Two-body: the mean of f_0. Three-body: (2 l + 1) times the mean of f_l^2. Four-body: the mean of f_l1 f_l2 f_l3,
    divided by the norm of the coupling tensor, the square root of the mean of P_l1 P_l2 P_l3."""
    from scipy.special import eval_chebyt, eval_legendre

    r = np.linalg.norm(vectors, axis=1)
    t = r / ace.cutoff
    radial = np.array([(1 - t**2) ** 3 * eval_chebyt(n, 2 * t - 1) for n in range(ace.n_radial)])
    n_elements = ace.radial_weights.shape[0]
    share = np.eye(n_elements) if ace.densities is None else np.asarray(ace.densities)
    basis = np.concatenate([radial * share[neighbor_species, d] for d in range(share.shape[1])])
    channels = np.einsum("lcb,bj->lcj", np.asarray(ace.radial_weights)[species], basis)
    points, weights = sphere(3 * ace.l_max)
    cosines = points @ (vectors / r[:, None]).T
    f = np.array([channels[degree] @ eval_legendre(degree, cosines).T for degree in range(ace.l_max + 1)])  # l c p
    features = [f[0] @ weights]
    if ace.body_order >= 3:
        features += [(2 * degree + 1) * f[degree] ** 2 @ weights for degree in range(ace.l_max + 1)]
    if ace.body_order >= 4:
        nodes, gauss = np.polynomial.legendre.leggauss(3 * ace.l_max + 1)
        for a in range(ace.l_max + 1):
            for b in range(a, ace.l_max + 1):
                for c in range(b, min(a + b, ace.l_max) + 1):
                    if (a + b + c) % 2 == 0:
                        product = eval_legendre(a, nodes) * eval_legendre(b, nodes) * eval_legendre(c, nodes)
                        features.append((f[a] * f[b] * f[c]) @ weights / np.sqrt(gauss @ product / 2))
    return np.concatenate(features)


@pytest.mark.parametrize(
    ("elements", "arguments"),
    [
        (1, {}),
        (2, {}),
        (5, {}),
        (1, {"l_max": 5, "n_channels": 2}),
        (3, {"body_order": 3}),
        (2, {"body_order": 2, "l_max": 1}),
        (1, {"l_max": 0}),
    ],
)
def test_equals_its_definition(elements, arguments):
    with jax.enable_x64(True):
        ace = make(elements, **arguments)
        nb = cluster(elements=elements, cutoff=ace.cutoff)
        features = np.asarray(eqx.filter_jit(ace)(nb))
        assert features.shape == (len(nb.vectors), ace.n_features)
        for i in range(elements + 1):
            row = nb.mask[i]
            expected = by_definition(ace, nb.vectors[i][row], nb.species[i], nb.neighbor_species[i][row])
            np.testing.assert_allclose(features[i], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("elements", [1, 2, 5])
def test_what_every_descriptor_promises(elements):
    check_descriptor(make, elements=elements)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 9), scale=st.floats(0.3, 3.0))
def test_rotations_mirrors_and_order_do_not_matter(seed, n, scale):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(1, n, 3)) * scale
    # Below 0.3 Å directions are softened, and are no unit vectors.
    vectors *= np.maximum(1.0, 0.3 / np.linalg.norm(vectors, axis=-1, keepdims=True))
    turned, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    order = generator.permutation(n)
    kinds = generator.integers(0, 2, (1, n)).astype(np.int32)
    mask = np.ones((1, n), bool)
    with jax.enable_x64(True):
        ace = make(2)
        here = np.asarray(ace(Neighborhood(vectors, np.zeros(1, np.int32), kinds, mask)))
        there = np.asarray(
            ace(Neighborhood((vectors @ turned.T)[:, order], np.zeros(1, np.int32), kinds[:, order], mask))
        )
        split = ace(Neighborhood(vectors[:, :-1], np.zeros(1, np.int32), kinds[:, :-1], mask[:, :-1]))
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9 * np.abs(here).max())
    if np.linalg.norm(vectors[0, -1]) < 0.9 * ace.cutoff:
        assert np.abs(split - here).max() > 1e-9  # and a neighbour does matter


def test_training_derivatives_are_right():
    """d/dparameters of a sum of squared forces, what the trainer follows, against finite differences."""
    with jax.enable_x64(True):
        ace = make(2, n_channels=2, l_max=2)
        nb = cluster(6, 2)

        def loss(weights):
            model = eqx.tree_at(lambda m: m.radial_weights, ace, weights)
            _, gradient = energies_and_gradient(lambda n: jnp.sum(jnp.tanh(0.3 * model(n)), axis=1), nb)
            return jnp.sum(gradient**2)

        direction = np.random.default_rng(0).normal(size=ace.radial_weights.shape)
        step = 1e-5
        numerical = (loss(ace.radial_weights + step * direction) - loss(ace.radial_weights - step * direction)) / (
            2 * step
        )
        np.testing.assert_allclose(jnp.sum(jax.grad(loss)(ace.radial_weights) * direction), numerical, rtol=1e-6)


@pytest.mark.parametrize(
    ("pair", "told_apart_from"),
    [("2body", 3), ("3body_Fig1b", 4), ("4body_bispectrum_rings", 5), ("4body_bispectrum_rings_b", 5)],
)
def test_degenerate_pairs_need_their_body_order(shared_data, pair, told_apart_from):
    """Environments that share all invariants below a body order (Pozdnyakov et al., PRL 125, 166001)."""
    import ase.io

    path = shared_data / "degenerate" / "degenerate_pairs.xyz.xz"
    environments = [a.positions[1:] - a.positions[0] for a in ase.io.read(path, ":") if a.info["pair"] == pair]
    assert len(environments) == 2
    n = len(environments[0])
    nb = Neighborhood(np.array(environments), np.zeros(2, np.int32), np.zeros((2, n), np.int32), np.ones((2, n), bool))
    with jax.enable_x64(True):
        for body_order in (2, 3, 4):
            features = np.asarray(make(1, 5.0, n_radial=8, n_channels=8, l_max=4, body_order=body_order)(nb))
            difference = np.abs(features[0] - features[1]).max() / np.abs(features).max()
            assert (difference > 1e-3) == (body_order >= told_apart_from), (body_order, difference)
            assert difference > 1e-3 or difference < 1e-8  # the positions are rounded


def test_single_precision_in_a_double_session():
    nb = cluster(5)
    with jax.enable_x64(True):
        assert make(1)(nb._replace(vectors=nb.vectors.astype(np.float32))).dtype == jnp.float32


@pytest.mark.parametrize("setting", [{"l_max": 7}, {"n_channels": 0}, {"body_order": 5}, {"n_radial": 0}])
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        make(1, **setting)


def test_same_features_from_a_structure_and_its_supercell():
    from ase.build import bulk

    with jax.enable_x64(True):
        ace = make(1, 4.0)
        rows = []
        for atoms in (bulk("Si"), bulk("Si", cubic=True) * 2):
            nb = neighborhood_of(atoms.positions, atoms.cell.array, True, np.zeros(len(atoms), int), 4.0)
            rows.append(np.asarray(ace(nb))[0])
        np.testing.assert_allclose(*rows, rtol=0, atol=1e-10 * np.abs(rows[0]).max())


def test_couplings_are_integrals_of_three_harmonics():
    """Where l1 + l2 + l3 is even, which is where ACE uses them."""
    points, weights = sphere(12)
    harmonics = np.array(spherical_harmonics(*points.T, 4))
    for degrees in itertools.product(range(5), repeat=3):
        if sum(degrees) % 2:
            continue
        sets = [harmonics[degree**2 : (degree + 1) ** 2] for degree in degrees]
        integrals = np.einsum("ap,bp,cp,p->abc", *sets, weights, optimize=True)
        size = np.linalg.norm(integrals)
        expected = integrals / size if size > 1e-10 else np.zeros_like(integrals)
        np.testing.assert_allclose(real_coupling(*degrees), expected, rtol=0, atol=1e-13)
