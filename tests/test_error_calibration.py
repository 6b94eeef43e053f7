"""Calibration: expected errors hold as often as conformal prediction promises, and grow as errors do."""

from __future__ import annotations

import numpy as np
import pytest

from jax_models.training.uncertainty.assess import COVERED, _calibrated
from jax_models.training.uncertainty.measurement import Measured
from jax_models.uncertainty import Grade, Uncertainty


def synthetic(n, seed, a=0.7, b=0.4, bar=0.2):
    generator = np.random.default_rng(seed)
    grade, force = generator.uniform(0.2, 3.0, n), generator.uniform(0.0, 5.0, n)
    error = (
        bar
        * np.where(grade < 1, grade**a, grade)
        * (force**2 + 0.1) ** (0.5 * b)
        * np.exp(0.3 * generator.normal(size=n))
    )
    return Measured(grade, force, np.full(n, 0.1), error)


def covered(uncertainty, measured):
    forces = np.column_stack([measured.force, np.zeros((len(measured.force), 2))])
    return np.mean(measured.error <= uncertainty.expected_error(measured.reach, forces))


@pytest.fixture(scope="module")
def uncalibrated():
    one = np.float32(1.0)
    grade = Grade(np.ones((1, 1, 1), np.float32), np.zeros((1, 1), np.float32))
    return Uncertainty(grade, one, np.zeros(2, np.float32), one, np.zeros((2, 1), np.float32), one)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 10, 11, 99, 1000])
def test_coverage_of_the_held_out_atoms_is_never_below(uncalibrated, n):
    for seed in range(20):
        held_out = synthetic(n, seed)
        found, facts = _calibrated(uncalibrated, synthetic(200, 100 + seed), held_out, None)
        assert covered(found, held_out) >= COVERED
        assert facts["coverage"] == covered(found, held_out)


def test_atoms_that_were_not_seen_are_covered_as_often(uncalibrated):
    """What split conformal prediction promises: on average over calibrations, between 0.9 and 0.9 + 1/(n + 1)."""
    parts = []
    for seed in range(300):
        found, _ = _calibrated(uncalibrated, synthetic(200, 0), synthetic(49, 1000 + seed), None)
        parts.append(covered(found, synthetic(400, 5000 + seed)))
    error = np.std(parts) / np.sqrt(len(parts))
    assert COVERED - 3 * error < np.mean(parts) < COVERED + 1 / 50 + 3 * error


def test_exponents_are_those_that_errors_have(uncalibrated):
    found, facts = _calibrated(uncalibrated, synthetic(4000, 0), synthetic(4000, 1), None)
    assert facts["exponents"] == pytest.approx([0.7, 0.4], abs=0.08)
    falling, _ = _calibrated(uncalibrated, synthetic(500, 0, a=-1.0), synthetic(500, 1, a=-1.0), None)
    assert falling.exponents[0] == pytest.approx(0.0, abs=1e-9)  # never the other way round
