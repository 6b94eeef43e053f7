"""SOAP and the many-body tensor representations against DScribe, an independent implementation, same settings."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jax_models.descriptors.mbtr import MBTR
from jax_models.descriptors.mbtr_global import global_mbtr
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


DECAY = {"function": "exp", "threshold": 1e-2}
MBTR_TERMS = [
    ({"function": function}, {"min": low, "max": high, "sigma": sigma, "n": n}, {**DECAY, "scale": scale})
    for function, low, high, sigma, n, scale in (
        ("distance", 0.5, 5.0, 0.15, 40, 1.0),
        ("inverse_distance", 0.1, 1.0, 0.03, 30, 1.0),
        ("cosine", -1.0, 1.0, 0.1, 25, 0.6),
        ("angle", 0.0, 180.0, 8.0, 30, 0.6),
    )
]


@pytest.fixture(autouse=True)
def dscribe_with_a_new_ase(monkeypatch):
    """DScribe 2.1 passes its System's arguments to ASE by position, in the order that ASE had before 3.29."""
    from ase import Atoms
    from dscribe.core.system import System

    def initialise(self, *arguments, **named):
        Atoms.__init__(self, *arguments, **named)
        self.wyckoff_positions = self.equivalent_atoms = self._cell_inverse = None
        self._displacement_tensor = self._distance_matrix = self._inverse_distance_matrix = None

    monkeypatch.setattr(System, "__init__", initialise)


@pytest.fixture(scope="module")
def pair_of_elements():
    from ase.build import bulk

    atoms = bulk("SiC", crystalstructure="zincblende", a=4.36, cubic=True)
    atoms.rattle(0.15, seed=2)
    return atoms


@pytest.mark.parametrize(("geometry", "grid", "weighting"), MBTR_TERMS)
def test_local_mbtr(pair_of_elements, geometry, grid, weighting):
    atoms, numbers = pair_of_elements, np.array([6, 14])
    reference = dscribe.LMBTR(
        species=numbers, geometry=dict(geometry), grid=dict(grid), weighting=dict(weighting), periodic=True
    ).create(atoms)
    reference = np.asarray(reference.todense() if hasattr(reference, "todense") else reference)
    reference = reference.reshape(len(atoms), -1, grid["n"])
    # Without its pseudo-element X (0) paired with itself: of 3 elements, X-C and X-Si; C-X-C, C-X-Si, Si-X-Si, X-C-C,
    # ...
    kept = [1, 2] if geometry["function"].endswith("distance") else [3, 4, 5, 7, 8, 10, 11]
    reference = reference[:, kept].reshape(len(atoms), -1)
    settings = {"geometry": geometry, "grid": grid, "weighting": weighting}
    cutoff, _ = MBTR.reference_settings(3.0, settings)
    with jax.enable_x64(True):
        species = np.searchsorted(numbers, atoms.numbers)
        neighborhood = neighborhood_of(atoms.positions, atoms.cell.array, True, species, cutoff)
        features = np.asarray(MBTR(2, cutoff, **settings)(neighborhood))
    np.testing.assert_allclose(features, reference, rtol=0, atol=1e-6 * np.abs(reference).max())


@pytest.mark.parametrize(
    ("geometry", "grid", "weighting", "normalization"),
    [
        (*MBTR_TERMS[0], "none"),
        (*MBTR_TERMS[0], "valle_oganov"),
        (*MBTR_TERMS[1], "l2"),
        (*MBTR_TERMS[2], "n_atoms"),
        (*MBTR_TERMS[2], "valle_oganov"),
        (*MBTR_TERMS[3], "none"),
        (*MBTR_TERMS[0][:2], {"function": "inverse_square", "r_cut": 4.5}, "none"),
        (*MBTR_TERMS[2][:2], {"function": "smooth_cutoff", "r_cut": 3.0, "sharpness": 2}, "none"),
        ({"function": "atomic_number"}, {"min": 0, "max": 20, "sigma": 1.0, "n": 30}, None, "none"),
    ],
)
def test_global_mbtr(pair_of_elements, geometry, grid, weighting, normalization):
    atoms, numbers = pair_of_elements, np.array([6, 14])
    reference = dscribe.MBTR(
        species=numbers, geometry=dict(geometry), grid=dict(grid), weighting=weighting and dict(weighting),
        normalization=normalization, periodic=True,
    ).create(atoms)  # fmt: skip
    settings = {"geometry": geometry, "grid": grid, "weighting": weighting}
    cutoff, _ = MBTR.reference_settings(3.0, settings)
    with jax.enable_x64(True):
        species = np.searchsorted(numbers, atoms.numbers)
        neighborhood = neighborhood_of(atoms.positions, atoms.cell.array, True, species, cutoff)
        features = global_mbtr(
            neighborhood, numbers, cutoff, normalization=normalization, volume=atoms.get_volume(), **settings
        )
    np.testing.assert_allclose(np.asarray(features), reference, rtol=0, atol=1e-6 * np.abs(reference).max())
