"""SOAP and the many-body tensor representations against DScribe, an independent implementation, same settings."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jax_models.descriptors.soap import SOAP
from jax_models.neighborhood import neighborhood_of

dscribe = pytest.importorskip("dscribe.descriptors", reason="DScribe is not installed")


@pytest.fixture(scope="module")
def oxide():
    """A rattled periodic cell of three elements, with neighbours across every face."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    atoms.rattle(0.2, seed=1)
    atoms.numbers[::3] = 8
    atoms.numbers[1::5] = 6
    return atoms


def soap_features(atoms, numbers, r_cut, sigma, **settings):
    cutoff = SOAP.neighbor_cutoff(r_cut, sigma=sigma)
    with jax.enable_x64(True):
        descriptor = SOAP(len(numbers), cutoff, r_cut=r_cut, sigma=sigma, **settings)
        species = np.searchsorted(numbers, atoms.numbers)
        neighborhood = neighborhood_of(atoms.positions, atoms.cell.array, atoms.pbc, species, cutoff)
        return np.asarray(descriptor(neighborhood))


def same_as_dscribe(atoms, numbers, r_cut, compression="off", weighting=None, **settings):
    reference = dscribe.SOAP(
        species=numbers,
        r_cut=r_cut,
        periodic=bool(atoms.pbc.any()),
        compression={"mode": compression},
        weighting=dict(weighting) if weighting else None,
        **settings,
    ).create(atoms)
    ours = soap_features(atoms, numbers, r_cut, compression=compression, weighting=weighting, **settings)
    assert ours.shape == reference.shape
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-6 * np.abs(reference).max())


@pytest.mark.parametrize(
    "settings",
    [
        dict(n_max=8, l_max=4, sigma=1.0),
        dict(n_max=6, l_max=6, sigma=0.5),
        dict(n_max=8, l_max=4, sigma=1.0, rbf="polynomial"),
        dict(n_max=5, l_max=3, sigma=0.4, rbf="polynomial"),
        dict(n_max=1, l_max=0, sigma=0.7),
    ],
)
def test_soap_power_spectrum(oxide, settings):
    same_as_dscribe(oxide, [6, 8, 14], 5.0, **settings)


@pytest.mark.parametrize("compression", ["mu2", "mu1nu1", "crossover"])
def test_soap_compressions(oxide, compression):
    same_as_dscribe(oxide, [6, 8, 14], 4.0, compression=compression, n_max=5, l_max=3, sigma=0.5)


@pytest.mark.parametrize(
    "weighting",
    [
        {"function": "poly", "c": 1.5, "m": 2, "r0": 4.0},
        {"function": "pow", "c": 1, "d": 1, "m": 3, "r0": 3.0, "w0": 0.7},
        {"function": "exp", "c": 1, "d": 1, "r0": 3.0},
        {"w0": 0.0},
    ],
)
def test_soap_weightings(oxide, weighting):
    same_as_dscribe(oxide, [6, 8, 14], 4.0, weighting=weighting, n_max=5, l_max=3, sigma=0.5)


def test_soap_derivatives_of_a_molecule():
    """DScribe's analytical derivatives, attached centres: d features[i] / d positions[j]."""
    from ase.build import molecule

    atoms, numbers, r_cut, sigma = molecule("CH3CH2OH"), [1, 6, 8], 4.0, 0.6
    reference = dscribe.SOAP(species=numbers, r_cut=r_cut, n_max=4, l_max=3, sigma=sigma)
    expected, _ = reference.derivatives(atoms, method="analytical", attach=True)
    cutoff = SOAP.neighbor_cutoff(r_cut, sigma=sigma)
    with jax.enable_x64(True):
        descriptor = SOAP(3, cutoff, r_cut=r_cut, n_max=4, l_max=3, sigma=sigma)
        species = np.searchsorted(numbers, atoms.numbers)
        neighborhood = neighborhood_of(atoms.positions, np.zeros((3, 3)), False, species, cutoff)

        def features(positions):
            vectors = positions[neighborhood.neighbors] - positions[:, None]
            return descriptor(neighborhood._replace(vectors=vectors))

        ours = np.asarray(jax.jacrev(features)(atoms.positions)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
