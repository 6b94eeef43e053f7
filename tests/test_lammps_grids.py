"""The number of grid points is a property of one simulation: it is kept while it suits, and nobody else changes it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from lammps_runs import run_lammps, write_data
from strategy_potentials import ELEMENTS, MAKE
from test_lammps import random_positions

from jax_models import Potential
from jax_models.reference_points.grid_hysteresis import kept_counts
from jax_models.reference_points.grid_list import grid_steps

STRAIN = 1e-4
N = 30


def counts_of(potential: Potential, length: float) -> tuple[int, ...]:
    """Points along the vectors of a cube that is the first structure of a simulation."""
    cell = np.eye(3) * length
    if potential.contract.centers == "grid":
        return tuple(grid_steps(cell, np.ones(3, bool), potential.contract.spacing)[1])
    return tuple(potential.model.grid_for(cell))


def length_of_a_change(potential: Potential) -> float:
    """A length (Å) beyond which a cube gets more points."""
    low, high = 8.0, 11.0
    assert counts_of(potential, low) != counts_of(potential, high)
    while high - low > 1e-7:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if counts_of(potential, middle) == counts_of(potential, low) else (low, middle)
    return low


@pytest.fixture(scope="module", params=["grid", "cell"])
def system(request, tmp_path_factory):
    """A potential on a grid, and positions in a cube just below a change of the number of points."""
    folder = tmp_path_factory.mktemp(request.param)
    MAKE[request.param]().save(folder / "SiO.jaxff")
    potential = Potential.load(folder / "SiO.jaxff")
    length = length_of_a_change(potential) * (1 - STRAIN)
    assert counts_of(potential, length) != counts_of(potential, length * (1 + 2 * STRAIN))
    cell = np.eye(3) * length
    positions, types = random_positions(cell, N, 1.7, 0), np.arange(N) % 2 + 1
    write_data(folder / "below.data", positions, cell, types, 2)
    write_data(folder / "above.data", positions * 1.001, cell * 1.001, types, 2)
    return folder, potential, positions, cell, [ELEMENTS[t - 1] for t in types]


HEAD = "units metal\nread_data {data}.data\nmass * 20.0\npair_style jaxff precision double\n"
COEFF = "pair_coeff * * SiO.jaxff Si O\nthermo_style custom step pe\nthermo_modify format float %.17g\nrun 0\n"


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_small_strain_does_not_change_the_grid(system, ranks):
    """The energy stays smooth: second differences, against the jump of a grid that is chosen anew."""
    folder, potential, positions, cell, symbols = system
    factors = 1 + STRAIN * np.arange(5)
    script = HEAD.format(data="below") + COEFF
    for before, now in zip(factors, factors[1:], strict=False):
        scale = " ".join(f"{axis} scale {now / before:.17g}" for axis in "xyz")
        script += f"change_box all {scale} remap\nrun 0\n"
    energies = run_lammps(script, folder, ranks).value("PotEng")
    fresh = [potential.evaluate(positions * f, cell * f, True, symbols)["energy"] for f in factors]
    jump = np.abs(np.diff(fresh, 2)).max()
    assert np.abs(np.diff(energies, 2)).max() < 0.02 * jump, (jump, np.diff(energies, 2))
    assert energies[0] == pytest.approx(fresh[0], abs=1e-8)


def test_another_simulation_does_not_change_the_grid(system):
    """Two simulations of one file in one process, in turns: each as if it were alone."""
    from jaxff.lammps import start

    folder, potential, positions, cell, symbols = system
    expected = {
        "below": potential.evaluate(positions, cell, True, symbols)["energy"],
        "above": potential.evaluate(positions * 1.001, cell * 1.001, True, symbols)["energy"],
    }
    here = os.getcwd()
    os.chdir(folder)
    simulations = {}
    try:
        for name in expected:
            simulations[name] = start()
            simulations[name].commands_string(HEAD.format(data=name) + COEFF)
        for name in ("below", "above", "below"):
            simulations[name].command("run 0")
            assert simulations[name].get_thermo("pe") == pytest.approx(expected[name], abs=1e-8), name
    finally:
        for lmp in simulations.values():
            lmp.close()
        os.chdir(here)


DYNAMICS = """
change_box all {scale} remap
fix 1 all nve
timestep 0.0002
{runs}
write_dump all custom {name}.dump id x y z fx fy fz modify sort id format float %.17g
print '$(pe:%.17g)' file {name}.out
"""


def test_a_run_in_parts_keeps_its_grid(system):
    """In a box that is strained past the change of the number of points."""
    folder, *_ = system
    scale = " ".join(f"{axis} scale {1 + 2 * STRAIN!r}" for axis in "xyz")
    for name, runs in (("whole", "run 6"), ("parts", "run 2\nrun 1 pre no\nrun 3")):
        run_lammps(HEAD.format(data="below") + COEFF + DYNAMICS.format(runs=runs, name=name, scale=scale), folder)
    assert np.loadtxt(folder / "whole.out") == pytest.approx(np.loadtxt(folder / "parts.out"), abs=1e-9)
    dumps = [np.loadtxt(folder / f"{name}.dump", skiprows=9) for name in ("whole", "parts")]
    np.testing.assert_allclose(*dumps, atol=1e-9)


def test_what_is_kept():
    spacing = 1.0
    for n in range(1, 30):
        kept = np.array([n, n, n])
        # A cell at either side of n spacings keeps what it has, whichever that was.
        for length in (n * (1 - 1e-3), n * (1 + 1e-3)):
            fresh = grid_steps(np.eye(3) * length, np.ones(3, bool), spacing)[1]
            assert kept_counts(kept, fresh, [length] * 3, spacing) == (n, n, n)
        far = grid_steps(np.eye(3) * 2.1 * n, np.ones(3, bool), spacing)[1]
        assert kept_counts(kept, far, [2.1 * n] * 3, spacing) == tuple(far)
    assert kept_counts(None, (4, 5, 0), (4.0, 4.9, 0.0), spacing) == (4, 5, 0)
    assert kept_counts((4, 5, 6), (4, 5, 0), (4.0, 4.9, 6.0), spacing) == (4, 5, 0)
