"""`pair_style jaxff` gives the numbers of Potential.evaluate: any cell, any number of ranks, newton on or off."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import make_potential
from lammps_runs import BAR, EVALUATE, read_evaluation, run_lammps, write_data

ELEMENTS = ("Si", "O")
SMALL = {
    "descriptor": {"name": "ace", "n_channels": 2, "n_radial": 3, "l_max": 1, "body_order": 3},
    "priors": [{"name": "zbl"}],
}
"""Many-body, and compiles quickly."""


def random_positions(cell, n, closest, seed):
    """``n`` points in ``cell``, no two (images included) closer than ``closest``."""
    generator = np.random.default_rng(seed)
    images = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T @ cell
    points = np.zeros((0, 3))
    while len(points) < n:
        trial = generator.uniform(size=3) @ cell
        distances = np.linalg.norm(points[:, None] + images - trial, axis=-1)
        if len(points) == 0 or distances.min() > closest:
            points = np.vstack([points, trial])
    return points


class Case:
    """One structure and how LAMMPS is to hold it."""

    def __init__(self, name, cell, n, boundary="p p p", newton="on", empty=None, seed=0, box=None):
        self.name, self.boundary, self.newton = name, boundary, newton
        self.cell = np.array(cell, float)
        filled = self.cell if box is None else np.array(box, float)
        self.positions = random_positions(filled, n, 1.7, seed)
        if "p" not in boundary:
            self.positions += 0.5  # off the box's faces, where LAMMPS would call them lost
        self.types = np.random.default_rng(seed + 1).integers(1, 3, n)
        self.periodic = [word == "p" for word in boundary.split()]

    @property
    def symbols(self):
        return [ELEMENTS[t - 1] for t in self.types]


CUBE = np.diag([9.0, 10.0, 11.0])
SKEW = np.array([[9.0, 0, 0], [3.1, 9.5, 0], [-2.2, 4.0, 10.0]])
CASES = [
    Case("cube", CUBE, 40),
    Case("newton_off", CUBE, 40, newton="off"),
    Case("triclinic", SKEW, 40, seed=2),
    Case("triclinic_newton_off", SKEW, 40, newton="off", seed=2),
    Case("tiny", np.diag([3.0, 3.2, 3.4]), 1, seed=3),
    Case("slab", np.diag([9.0, 10.0, 30.0]), 40, boundary="p p f", box=CUBE, seed=4),
    Case("cluster", np.diag([40.0, 12.0, 12.0]), 20, boundary="f f f", box=np.diag([9.0, 10.0, 10.0]), seed=5),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with a potential and the structures, and what Potential.evaluate says of them."""
    folder = tmp_path_factory.mktemp("lammps")
    potential = make_potential(ELEMENTS, architecture=SMALL)
    potential.save(folder / "SiO.jaxff")
    expected = {}
    for case in CASES:
        write_data(folder / f"{case.name}.data", case.positions, case.cell, case.types, 2)
        expected[case.name] = potential.evaluate(case.positions, case.cell, case.periodic, case.symbols)
    return folder, expected


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_same_numbers_as_potential_evaluate(prepared, ranks):
    folder, expected = prepared
    pair = "pair_style jaxff precision double\npair_coeff * * SiO.jaxff Si O"
    cases = CASES if ranks == 1 else [c for c in CASES if c.name in ("newton_off", "triclinic", "cluster")]
    script = "".join(
        EVALUATE.format(name=c.name, boundary=c.boundary, newton=c.newton, processors=f"{ranks} 1 1", pair=pair)
        for c in cases
    )
    outcome = run_lammps(script, folder, ranks)
    if ranks == 4:
        assert re.search(r"Nlocal: .* max +0 min", outcome.output), "one rank was to have no atoms"
    for case in cases:
        found, reference = read_evaluation(folder, case.name), expected[case.name]
        n, volume = len(case.positions), abs(np.linalg.det(case.cell))
        assert abs(found["energy"] - reference["energy"]) / n < 1e-9, case.name
        np.testing.assert_allclose(found["energies"], reference["energies"], atol=1e-9, err_msg=case.name)
        np.testing.assert_allclose(found["forces"], reference["forces"], atol=1e-8, err_msg=case.name)
        np.testing.assert_allclose(found["pressure"] * volume / BAR, -reference["virial"], atol=1e-8, err_msg=case.name)
        six = [reference["virials"][:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
        np.testing.assert_allclose(found["virials"].T, six, atol=1e-8, err_msg=case.name)
        total = found["centroid_virials"].sum(axis=0)
        nine = [
            reference["virial"][a, b]
            for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1))
        ]
        np.testing.assert_allclose(total, nine, atol=1e-8, err_msg=case.name)
