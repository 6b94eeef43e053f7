"""GMP against numerical integration of its definition, and the tabulated densities against electron counts."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor, cluster

from jax_models import ConfigError
from jax_models.descriptors.gmp import GMP, ROUNDING, element_densities, multipole
from jax_models.elements import SYMBOLS
from jax_models.neighborhood import neighborhood_of


def maxwell(order, x, y, z):
    """The Cartesian components of the Maxwell solid harmonics, as (multiplicity, values)."""
    r2 = x**2 + y**2 + z**2
    if order == 0:
        return [(1, np.ones_like(x))]
    if order == 1:
        return [(1, x), (1, y), (1, z)]
    axes = (x, y, z)
    if order == 2:
        return [(1, 3 * axes[a] * axes[b] - r2 * (a == b)) for a in range(3) for b in range(3)]
    return [
        (1, 15 * axes[a] * axes[b] * axes[c] - 3 * r2 * (axes[a] * (b == c) + axes[b] * (a == c) + axes[c] * (a == b)))
        for a in range(3)
        for b in range(3)
        for c in range(3)
    ]


def test_equals_direct_integration_of_the_overlap():
    """probe x harmonic x density of three atoms (and the centre's own), summed on a fine grid."""
    cutoff, sigmas = 6.0, (0.5, 0.9)
    symbols, elements = ["Si", "O", "H", "O"], ("H", "O", "Si")
    positions = np.array([[0.0, 0, 0], [1.5, 0.3, -0.2], [-0.4, 1.1, 0.9], [0.2, -1.0, 1.4]])
    axis = np.linspace(-5.4, 5.4, 135)
    step = axis[1] - axis[0]
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    density = np.zeros_like(x)
    for symbol, position in zip(symbols, positions, strict=True):
        r2 = (x - position[0]) ** 2 + (y - position[1]) ** 2 + (z - position[2]) ** 2
        fading = (1 - position @ position / cutoff**2) ** 3  # each atom fades as a whole
        for beta, amplitude in zip(*element_densities()[symbol], strict=True):
            density += fading * amplitude * np.exp(-beta * r2)
    expected = []
    for order in range(4):
        for sigma in sigmas:
            probe = np.exp(-(x**2 + y**2 + z**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) ** 3
            square = sum(k * (np.sum(h * probe * density) * step**3) ** 2 for k, h in maxwell(order, x, y, z))
            rounding = 0.0
            if order:
                r = 0.5 * cutoff * (np.cos(np.linspace(0, np.pi, 4001)) + 1)
                rounding = ROUNDING * max(np.abs(multipole(r, e, sigma, order)).max() for e in elements)
            expected.append(math.sqrt(square + rounding**2) - rounding)
    with jax.enable_x64(True):
        species = np.array([elements.index(s) for s in symbols])
        neighborhood = neighborhood_of(positions, np.zeros((3, 3)), False, species, cutoff)
        features = np.asarray(GMP(elements, cutoff, sigmas=sigmas, orders=(-1, 0, 1, 2, 3))(neighborhood))[0]
    np.testing.assert_allclose(features[1:], expected, rtol=2e-4)
    middle = len(axis) // 2
    np.testing.assert_allclose(features[0], density[middle, middle, middle], rtol=1e-6)


def test_densities_hold_their_valence_electrons():
    densities = element_densities()
    assert list(densities) == list(SYMBOLS[:86])
    electrons = {e: np.sum(a * (np.pi / b) ** 1.5) for e, (b, a) in densities.items()}
    known = {
        "H": 1,
        "Li": 1,
        "C": 4,
        "O": 6,
        "Al": 3,
        "Si": 4,
        "Ti": 4,
        "Cu": 11,
        "Mo": 6,
        "Sn": 4,
        "Xe": 8,
        "Gd": 10,
        "Pb": 4,
    }
    for element, count in known.items():
        np.testing.assert_allclose(electrons[element], count, atol=1e-8)
    assert all(abs(n - round(n)) < 1e-8 for n in electrons.values())


def test_the_generator_reproduces_published_energies_and_the_file():
    """Total LDA energies of the NIST tables (Kotochigova et al., PRA 55, 191), and the numbers that are stored."""
    from importlib import util
    from pathlib import Path

    path = Path(__file__).resolve().parents[1] / "tools" / "atomic_densities.py"
    specification = util.spec_from_file_location("atomic_densities", path)
    generator = util.module_from_spec(specification)
    specification.loader.exec_module(generator)
    for number, symbol in ((1, "H"), (6, "C"), (14, "Si")):
        energy, orbitals = generator.solve(number)
        assert abs(energy - generator.NIST_LDA[symbol]) < 2e-4
        shells = generator.valence(number)
        exponents, coefficients, _ = generator.gaussian_fit(
            sum(count * orbitals[shell] for shell, count in shells.items()), sum(shells.values())
        )
        np.testing.assert_allclose(exponents, element_densities()[symbol][0], rtol=1e-9)
        np.testing.assert_allclose(coefficients, element_densities()[symbol][1], rtol=1e-4, atol=1e-5)


def test_what_every_descriptor_promises():
    check_descriptor(
        lambda elements, cutoff: GMP(("O", "Si", "Al")[:elements], cutoff, sigmas=(0.4, 1.0), orders=(-1, 0, 1, 2, 3)),
        tolerance=1e-8,
    )


def test_features_do_not_grow_with_elements_and_elements_differ():
    counts = {GMP(SYMBOLS[:n], 6.0).n_features for n in (1, 3, 30)}
    assert counts == {41}
    with jax.enable_x64(True):
        neighborhood = cluster(cutoff=5.0)
        values = [np.asarray(GMP((e,), 5.0, sigmas=(0.6,), orders=(0,))(neighborhood)) for e in ("Al", "Si")]
    assert np.abs(values[0] - values[1]).min() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigmas": ()}, "at least 0.05"),
        ({"sigmas": (0.01,)}, "at least 0.05"),
        ({"orders": (9,)}, "between -1 and 8"),
        ({"orders": ()}, "between -1 and 8"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        GMP(("Si",), 6.0, **settings)


def test_an_element_without_a_density():
    with pytest.raises(ConfigError, match="no electron density for U"):
        GMP(("U",), 6.0)
