"""Whatever is wrong in an input script, LAMMPS stops with one line that names it, and a status that is not zero."""

from __future__ import annotations

import re

import pytest
from lammps_runs import run_lammps

from jax_models import Potential

SCRIPT = """
units {units}
{before}
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box {types} box
create_atoms 1 box
{atoms}
mass * 28.0
{pair}
{after}
run 0
"""
GOOD = {
    "units": "metal",
    "before": "",
    "types": 1,
    "atoms": "",
    "pair": "pair_style jaxff\npair_coeff * * Si.jaxff Si",
    "after": "",
}
BONDED = {
    "before": "atom_style bond\nbond_style zero",
    "types": "1 box bond/types 1 extra/bond/per/atom 4 extra/special/per/atom 40 #",
    "after": "bond_coeff *\ncreate_bonds many all all 1 2.2 2.5",
}
KEEP = "\nspecial_bonds lj/coul 1e-50 1e-50 1e-50"
CASES = {
    "units": ({"units": "lj", "atoms": ""}, "cannot work in units lj; use metal, real, si or electron"),
    "keyword": (
        {"pair": "pair_style jaxff precison single"},
        "no keyword precison; it has precision, device, threads, exchange, every and deviation",
    ),
    "no value": ({"pair": "pair_style jaxff precision"}, "keyword precision needs a value"),
    "precision": ({"pair": "pair_style jaxff precision half"}, "precision must be single or double, not half"),
    "device": ({"pair": "pair_style jaxff device tpu"}, "device must be cpu, gpu or auto, not tpu"),
    "threads": ({"pair": "pair_style jaxff threads 0"}, "threads must be a positive number, not 0"),
    "no gpu": (
        {"pair": "pair_style jaxff device gpu\npair_coeff * * Si.jaxff Si"},
        "device gpu was asked for, but JAX finds none",
    ),
    "types": ({"pair": "pair_style jaxff\npair_coeff 1 1 Si.jaxff Si"}, r"must start with \* \* for pair style jaxff"),
    "too few": (
        {"types": 2},
        r"gives 1 element name, but there are 2 atom types; name an element of Si.jaxff \(Si\) or NULL",
    ),
    "too many": (
        {"pair": "pair_style jaxff\npair_coeff * * Si.jaxff Si Si"},
        "gives 2 element names, but there is 1 atom type",
    ),
    "element": (
        {"pair": "pair_style jaxff\npair_coeff * * Si.jaxff Ge"},
        "Si.jaxff has no element Ge; it has Si, and NULL",
    ),
    "missing": ({"pair": "pair_style jaxff\npair_coeff * * nowhere.jaxff Si"}, "nowhere.jaxff"),
    "truncated": ({"pair": "pair_style jaxff\npair_coeff * * cut.jaxff Si"}, "cut.jaxff"),
    "same place": ({"atoms": "create_atoms 1 single 0 0 0"}, "atoms (1 and 65|65 and 1) are at the same position"),
    "not finite": (
        {"atoms": "create_atoms 1 single 0.05 0 0"},
        r"force of atom (1|65) is not a finite number; .* atom (1|65) at a dist",
    ),
    "special bonds": (BONDED, "special_bonds drops the 1-2 ones; use `special_bonds lj/coul 1 1 1`"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A potential whose energy is not finite for atoms closer than 1 Å, and a truncated copy of it."""
    import jax.numpy as jnp

    def energy(neighborhood):
        squared = jnp.where(neighborhood.mask, jnp.sum(neighborhood.vectors**2, axis=-1), 4.0)
        return jnp.sum(jnp.where(neighborhood.mask, jnp.log(squared - 1.0), 0.0), axis=-1)

    folder = tmp_path_factory.mktemp("errors")
    Potential.from_function(energy, ["Si"], cutoff=3.0).save(folder / "Si.jaxff")
    (folder / "cut.jaxff").write_bytes((folder / "Si.jaxff").read_bytes()[:-100])
    return folder


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_the_mistake(folder, case):
    changes, message = CASES[case]
    outcome = run_lammps(SCRIPT.format(**GOOD | changes), folder, status=None)
    errors = [line for line in outcome.output.splitlines() if line.startswith("ERROR")]
    assert outcome.status != 0
    assert len(errors) == 1, outcome.output
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("case", ["missing", "same place"])
def test_every_rank_stops(folder, case):
    changes, message = CASES[case]
    outcome = run_lammps(SCRIPT.format(**GOOD | changes), folder, ranks=2, status=None)
    assert outcome.status != 0
    assert re.search(message, outcome.output), outcome.output


def test_special_bonds_that_keep_neighbours(folder):
    """Bonds change nothing when their neighbours stay in the list, however small the factor."""
    plain = run_lammps(SCRIPT.format(**GOOD), folder)
    bonded = run_lammps(SCRIPT.format(**GOOD | BONDED | {"after": BONDED["after"] + KEEP}), folder)
    assert "Finding 1-2 1-3 1-4 neighbors" in bonded.output
    assert bonded.value("E_pair") == pytest.approx(plain.value("E_pair"), rel=1e-12)
