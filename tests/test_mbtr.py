"""The many-body tensor representation as a potential uses it, and settings refused by name."""

from __future__ import annotations

import pytest
from descriptor_invariants import check_descriptor

from jax_models import ConfigError
from jax_models.descriptors.mbtr import DEFAULT_GRID, MBTR

FEW = ({"min": 0.1, "max": 0.9, "sigma": 0.1, "n": 6}, {"min": -1.0, "max": 1.0, "sigma": 0.3, "n": 6})


def test_what_every_descriptor_promises():
    check_descriptor(lambda elements, cutoff: MBTR(elements, cutoff, grid=FEW, normalization="l2"))
    angles = {"geometry": {"function": "angle"}, "grid": {"min": 0.0, "max": 180.0, "sigma": 15.0, "n": 8}}
    check_descriptor(
        lambda elements, cutoff: MBTR(elements, cutoff, weighting={"function": "unity"}, **angles), elements=1
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"geometry": ({"function": "dihedral"}, {"function": "angle"})}, "one of atomic_number, distance"),
        ({"geometry": {"function": "distance"}}, "describe 1, 2, 2 terms"),
        ({"grid": ({"min": 1.0, "max": 0.5, "sigma": 0.1, "n": 5}, DEFAULT_GRID[1])}, "min must be below max"),
        (
            {"grid": ({"min": 0.0, "max": 1.0, "sigma": 0.01, "n": 10}, DEFAULT_GRID[1])},
            "too coarse.*at least 26 points",
        ),
        ({"weighting": ({"function": "exp"}, {"function": "unity"})}, "exp needs scale"),
        (
            {"weighting": ({"function": "smooth_cutoff"}, {"function": "unity"})},
            "choose from unity, exp, inverse_square",
        ),
        ({"weighting": ({"function": "exp", "scale": -1}, {"function": "unity"})}, "positive numbers"),
        ({"normalization": "n_atoms"}, "choose from none, l2"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        MBTR(2, 5.0, **settings)


def test_no_atomic_number_term():
    grid = {"min": 0, "max": 20, "sigma": 1.0, "n": 30}
    with pytest.raises(ConfigError, match="the global one has"):
        MBTR(2, 5.0, geometry={"function": "atomic_number"}, grid=grid, weighting=None)
