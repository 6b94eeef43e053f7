"""Wavelet scattering of whole cells: invariances, derivatives, and the published definition."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from jax_models import ConfigError
from jax_models.descriptors.scattering import Scattering
from jax_models.descriptors.scattering_local import LocalScattering
from jax_models.reference_points.grid_list import grid_points
from jax_models.whole_cell import features_of


def alloy(seed=0):
    atoms = bulk("NaCl", "zincblende", 5.2, cubic=True)
    atoms.rattle(0.15, seed=seed)
    return atoms


def features(atoms, **settings):
    scattering = Scattering(
        ("Na", "Cl"), **{"n_max": 2, "l_max": 1, "n_scales": 3, "beta_0": 0.6, "tolerance": 0.03, **settings}
    )
    species = (atoms.numbers == 17).astype(int)
    return features_of(scattering, [(atoms.positions, atoms.cell.array, atoms.pbc, species)])[0]


@pytest.fixture(scope="module")
def scale():
    """What features differ by between structures: errors are measured by it."""
    return np.std([features(alloy(seed)) for seed in range(4)], axis=0) + 1e-2 * np.abs(features(alloy()))


def test_names_and_sizes(scale):
    scattering = Scattering(("Na", "Cl"), n_max=2, l_max=1, n_scales=3)
    names = scattering.feature_names
    assert len(names) == scattering.n_features == len(scale)
    assert {name["channel"] for name in names} == {"ones", "Na", "Cl"}
    counts = [name for name in names if name["order"] == 0]
    np.testing.assert_allclose(features(alloy())[: len(counts)], [8, 4, 4])


def test_rotation_translation_permutation(scale):
    atoms = alloy()
    plain = features(atoms)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned = Atoms(atoms.symbols, atoms.positions @ rotation, cell=atoms.cell.array @ rotation, pbc=True)
    np.testing.assert_allclose(features(turned), plain, rtol=1e-9, atol=1e-9 * np.abs(plain).max())
    order = np.random.default_rng(2).permutation(len(atoms))
    np.testing.assert_allclose(features(atoms[order]), plain, rtol=1e-9, atol=1e-9 * np.abs(plain).max())
    moved = atoms.copy()
    moved.positions += [0.37, 0.11, 7.23]
    error = np.abs(features(moved) - plain) / scale
    assert error.max() < 0.1 and np.median(error) < 3e-3


def test_settings_out_of_range():
    for settings, message in (
        ({"n_max": 0}, "n_max is 0; it must be a whole number from 1"),
        ({"beta_0": "wide"}, "beta_0 is 'wide'"),
        ({"orders": (3,)}, "orders is"),
        ({"powers": ("x",)}, "powers is"),
        ({"channels": ("spin",)}, "no density channel 'spin'; choose from ones"),
        ({"channels": ({"Na": 1.0},)}, "no weight to Cl"),
        ({"pairs": "some"}, "pairs is 'some'"),
        ({"wavelet": "morlet"}, "wavelet is 'morlet'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Scattering(("Na", "Cl"), **settings)


def test_a_cell_in_another_shape(scale):
    atoms = alloy()
    plain = features(atoms)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    error = np.abs(features(sheared * (1, 1, 2)) / 2 - plain) / scale
    assert error.max() < 0.1 and np.median(error) < 3e-3


def test_empty_space_counts_nothing():
    molecule = Atoms("NaCl", [[0, 0, 0], [0.3, 0.2, 2.4]])
    settings = {"n_scales": 2, "beta_0": 0.9, "ratio": 1.3, "orders": (1, 2)}
    free = features(molecule, **settings)
    molecule.center(vacuum=9.0)
    molecule.pbc = True, False, True
    np.testing.assert_allclose(features(molecule, **settings), free, atol=0.01 * np.median(free), rtol=0.01)


def test_solid_harmonics_are_kymatios():
    """Atoms on a grid's points, all orders and powers; tests/data/make_kymatio_reference.py made the numbers."""
    reference = json.loads((Path(__file__).parent / "data" / "kymatio_reference.json").read_text())
    scattering = Scattering(
        ("H", "He"), wavelet="solid_harmonic", l_max=2, beta_0=reference["sigma_0"], n_scales=3, ratio=2.0,
        orders=(1, 2), powers=tuple(reference["powers"]), channels=({"H": 1, "He": 3},), smoothing=1e-6, tolerance=1e-4,
    )  # fmt: skip
    species = np.array(reference["weights"]) == 3
    cell = np.diag(np.array(reference["shape"], float))
    found = features_of(scattering, [(np.array(reference["positions"], float), cell, True, species)])[0]
    expected = np.array(reference["features"])
    paths = {tuple(path): values for path, values in zip(reference["paths"], expected, strict=True)}
    scale_of = {beta: j for j, beta in enumerate(scattering.scales)}
    power_of = {q: i for i, q in enumerate(scattering.powers)}
    for name, value in zip(scattering.feature_names, found, strict=True):
        path = tuple(scale_of[name[key]] for key in ("scale", "scale2") if key in name)
        kymatio = paths[path][name["l"], power_of[name["power"]]]
        assert value == pytest.approx(kymatio, rel=1e-5 if name["power"] == 2 and len(path) == 1 else 5e-3), name


def test_grid_points_have_the_integrand_of_the_first_order():
    settings = {"n_max": 2, "l_max": 1, "beta_0": 0.6, "n_scales": 2, "ratio": 1.5, "powers": (1, 2)}
    atoms = alloy()
    whole = features(atoms, orders=(1,), **settings)
    local = LocalScattering(("Na", "Cl"), 6.0, tolerance=1e-3, **settings)
    species = (atoms.numbers == 17).astype(int)
    points = grid_points(atoms.positions, atoms.cell.array, atoms.pbc, 0.27, 6.0)
    with jax.enable_x64(True):
        values = np.asarray(local(points.neighborhood(atoms.positions, atoms.cell.array, species, np.float64)))
    np.testing.assert_allclose(points.weight * values.sum(axis=0), whole, rtol=0.01)


def test_a_scale_wider_than_the_cutoff_is_refused():
    with pytest.raises(
        ConfigError, match="3 scales from beta_0 0.5 Å need a cutoff of .* but it is 5; raise model.cutoff"
    ):
        LocalScattering(("Na", "Cl"), 5.0, n_scales=3)
