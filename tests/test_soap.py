"""SOAP as a potential uses it: smooth at the cutoff, the density's own definition, settings refused by name."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor, cluster

from jax_models import ConfigError
from jax_models.descriptors.soap import SOAP


@pytest.mark.parametrize("compression", ["off", "mu2", "mu1nu1", "crossover"])
def test_what_every_descriptor_promises(compression):
    check_descriptor(lambda elements, cutoff: SOAP(elements, cutoff, n_max=4, l_max=3, compression=compression))


def test_polynomial_basis_promises_the_same():
    check_descriptor(lambda elements, cutoff: SOAP(elements, cutoff, n_max=4, l_max=2, sigma=0.7, rbf="polynomial"))


def test_it_is_the_overlap_of_gaussians_with_a_basis():
    """l = 0 of one neighbour by direct integration on a grid: c = integral of g_n(r) Y_00 exp(-|r - R|^2/(2
    sigma^2))."""
    cutoff, sigma, distance = 4.0, 0.6, 1.9
    axis = np.linspace(-7.5, 7.5, 121)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    r2 = x**2 + y**2 + z**2
    density = np.exp(-(x**2 + y**2 + (z - distance) ** 2) / (2 * sigma**2))
    alpha = -np.log(1e-3) / 1.0  # one function: a Gaussian that decays to 1e-3 at 1 Å
    norm = (0.5 * np.sqrt(np.pi) / 2 * (2 * alpha) ** -1.5) ** -0.5
    coefficient = norm * np.sum(np.exp(-alpha * r2) * density) * (axis[1] - axis[0]) ** 3 / np.sqrt(4 * np.pi)
    with jax.enable_x64(True):
        descriptor = SOAP(1, 20.0, r_cut=cutoff, n_max=1, l_max=0, sigma=sigma, weighting={"w0": 0.0})
        one = cluster(2, cutoff=20.0)
        vectors = np.zeros_like(one.vectors)
        vectors[:, 0, 2] = distance
        features = np.asarray(descriptor(one._replace(vectors=vectors)))
    np.testing.assert_allclose(features[0, 0], np.pi * np.sqrt(8) * coefficient**2, rtol=1e-6)


def test_a_point_that_is_no_atom_has_no_density_of_its_own():
    with jax.enable_x64(True):
        descriptor, neighborhood = SOAP(1, 4.5, n_max=3, l_max=1), cluster(cutoff=4.5)
        atom = np.asarray(descriptor(neighborhood))
        point = np.asarray(descriptor(neighborhood._replace(species=np.full_like(neighborhood.species, -1))))
        hidden = SOAP(1, 4.5, n_max=3, l_max=1, weighting={"function": "poly", "c": 1, "m": 2, "r0": 4.5, "w0": 0.0})
        np.testing.assert_allclose(point, np.asarray(hidden(neighborhood)), atol=1e-12)
        assert np.abs(atom - point).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l_max": -1}, "l_max is -1.*between 0 and 12"),
        ({"n_max": 0}, "n_max is 0.*between 1 and"),
        ({"n_max": 25, "rbf": "polynomial"}, "n_max is 25, too many"),
        ({"sigma": 0.0}, "sigma is 0.0.*positive"),
        ({"sigma": 0.01, "rbf": "polynomial"}, "must be at least"),
        ({"rbf": "spline"}, "choose from gto, polynomial"),
        ({"compression": "zip"}, "choose from off"),
        ({"r_cut": 5.0}, "raise the cutoff"),
        ({"weighting": {"function": "poly", "c": 1}}, "needs c, m, r0"),
        ({"weighting": {"function": "linear"}}, "choose from poly"),
        ({"weighting": {"w0": -1.0}}, "w0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SOAP(1, 5.0, **settings)


def test_the_gto_basis_needs_an_angstrom():
    with pytest.raises(ConfigError, match="above 1 Å"):
        SOAP(1, 0.9)
