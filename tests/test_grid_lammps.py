"""Potentials on a grid through pair_style jaxff: the same numbers as Potential.evaluate, on one rank and on several."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_grid_potential
from lammps_runs import BAR, EVALUATE, read_evaluation, run_lammps, write_data

GRID = {
    "descriptor": {"name": "gmp", "sigmas": [0.5, 0.8], "orders": [0]},
    "readout": {"name": "mlp", "hidden": [4]},
    "reference_points": {"name": "grid", "spacing": 0.8},
}
CUTOFF = 3.4
CELLS = {
    "tilted": np.array([[7.3, 0, 0], [1.7, 6.4, 0], [-1.2, 0.9, 6.9]]),
    "straight": np.diag([7.3, 6.6, 6.9]),
    "tiny": np.array([[2.7, 0, 0], [0.6, 2.9, 0], [0.2, -0.7, 3.1]]),
}
PAIR = "pair_style jaxff precision double\npair_coeff * * grid.jaxff Si O"


@pytest.fixture(scope="module")
def potential():
    return make_grid_potential(("Si", "O"), CUTOFF, GRID)


def atoms(cell, n, seed=0):
    generator, found = np.random.default_rng(seed), []
    while len(found) < n:
        trial = generator.uniform(0.05, 0.95, 3) @ cell
        images = [trial - other + s @ cell for other in found for s in np.array(list(np.ndindex(3, 3, 3))) - 1]
        if min(map(np.linalg.norm, images), default=9) > 1.2:
            found.append(trial)
    return np.array(found), [("Si", "O")[i % 2] for i in range(n)]


def check(potential, folder, name, cell, periodic, positions, symbols):
    found, expected = read_evaluation(folder, name), potential.evaluate(positions, cell, periodic, symbols)
    assert np.abs(expected["forces"]).max() > 1e-3
    np.testing.assert_allclose(found["energy"], expected["energy"], atol=1e-8)
    np.testing.assert_allclose(found["energies"], expected["energies"], atol=1e-8)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-8)
    virials = expected["virials"]
    np.testing.assert_allclose(
        found["centroid_virials"], virials.reshape(-1, 9)[:, [0, 4, 8, 1, 2, 5, 3, 6, 7]], atol=1e-7
    )
    np.testing.assert_allclose(found["virials"], virials.reshape(-1, 9)[:, [0, 4, 8, 1, 2, 5]], atol=1e-7)
    if all(periodic):
        np.testing.assert_allclose(found["pressure"] * abs(np.linalg.det(cell)) / BAR, -expected["virial"], atol=1e-6)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_same_as_evaluate(potential, tmp_path, ranks):
    """Tilted cells, cells smaller than the cutoff, open boundaries, newton off, sub-domains of uneven size."""
    potential.save(tmp_path / "grid.jaxff")
    cases, script = [], ""
    for name, shape, boundary, newton, more in (
        ("tilted", "tilted", "p p p", "on", ""),
        ("off", "tilted", "p p p", "off", ""),
        ("tiny", "tiny", "p p p", "on", ""),
        ("slab", "straight", "p p f", "on", ""),
        ("open", "straight", "s f s", "off", ""),
        ("uneven", "tilted", "p p p", "on", "balance 1.0 x 0.31\n" if ranks == 2 else ""),
        ("tiled", "straight", "p p p", "on", "comm_style tiled\nbalance 1.0 rcb\n" if ranks > 1 else ""),
    ):
        cell = CELLS[shape]
        positions, symbols = atoms(cell, 3 if name == "tiny" else 24)
        write_data(tmp_path / f"{name}.data", positions, cell, 1 + potential.species_of(symbols), 2)
        processors = f"{ranks} 1 1" if ranks < 4 else "2 1 2"
        section = EVALUATE.format(name=name, boundary=boundary, newton=newton, processors=processors, pair=PAIR)
        script += section.replace("run 0", f"{more}run 0", 1)
        cases.append((name, cell, [b == "p" for b in boundary.split()], positions, symbols))
    run_lammps(script, tmp_path, ranks)
    for case in cases:
        check(potential, tmp_path, *case)


@pytest.mark.slow
def test_energy_is_conserved_and_ranks_agree(potential, tmp_path):
    """Atoms that change ranks and cross faces, against one rank; the box is not at the origin."""
    potential.save(tmp_path / "grid.jaxff")
    positions, symbols = atoms(CELLS["tilted"], 24)
    write_data(tmp_path / "md.data", positions, CELLS["tilted"], 1 + potential.species_of(symbols), 2)
    script = f"""
units metal
processors {{processors}}
read_data md.data
mass * 20.0
displace_atoms all move 0.3 -0.2 0.1
change_box all x final 0.5 7.8 remap units box
{PAIR}
velocity all create 900 4928 loop all
fix nve all nve
timestep 0.0005
thermo 20
thermo_style custom step temp pe etotal press
thermo_modify format float %.10g
run 60
"""
    one = run_lammps(script.format(processors="1 1 1"), tmp_path)
    two = run_lammps(script.format(processors="2 1 1"), tmp_path, 2)
    energies = one.value("TotEng")
    assert np.ptp(energies) / 24 < 2e-4 and np.ptp(one.value("PotEng")) / 24 > 5e-4
    for column in ("TotEng", "Press"):
        np.testing.assert_allclose(one.value(column), two.value(column), rtol=1e-7)


def test_pressure_is_the_derivative_by_volume(potential, tmp_path):
    """In LAMMPS's own box, which swells about its middle."""
    potential.save(tmp_path / "grid.jaxff")
    positions, symbols = atoms(CELLS["straight"], 24)
    write_data(tmp_path / "p.data", positions, CELLS["straight"], 1 + potential.species_of(symbols), 2)
    head = f"units metal\nread_data p.data\nmass * 20.0\n{PAIR}\ncompute v all pressure NULL virial\n"
    show = "thermo_style custom step pe vol c_v\nthermo_modify format float %.14g\nrun 0\n"
    scale = [1.0, 1 - 1e-5, 1 + 1e-5]
    script = head + show
    for previous, now in zip(scale, scale[1:], strict=False):
        factor = now / previous
        script += f"change_box all x scale {factor!r} y scale {factor!r} z scale {factor!r} remap\n{show}"
    out = run_lammps(script, tmp_path)
    energy, volume = out.value("PotEng"), out.value("Volume")
    np.testing.assert_allclose(out.value("c_v")[0] / BAR, -(energy[2] - energy[1]) / (volume[2] - volume[1]), rtol=1e-4)


def test_doors_that_cannot_refuse(potential, tmp_path):
    potential.save(tmp_path / "grid.jaxff")
    positions, symbols = atoms(CELLS["tilted"], 24)
    write_data(tmp_path / "t.data", positions, CELLS["tilted"], 1 + potential.species_of(symbols), 2)
    script = f"units metal\nboundary f p p\nbox tilt large\nread_data t.data\nmass * 20.0\n{PAIR}\nrun 0\n"
    out = run_lammps(script, tmp_path, status=None)
    assert out.status and "tilted along directions that are not periodic" in out.output, out.output
    from jax_models import ConfigError
    from jaxff.lammps.mliap import Unified

    with pytest.raises(ConfigError, match="looks from the points of a grid"):
        Unified(tmp_path / "grid.jaxff", "")
