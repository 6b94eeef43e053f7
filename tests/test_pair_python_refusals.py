"""What pair_style python cannot do is said in one line, and ends every rank of a stock LAMMPS."""

from __future__ import annotations

import re
import time

import pytest
import stock_lammps as stock
from stock_lammps import MANY_BODY, PAIRWISE, load

stock_lammps, files = stock.stock_lammps, stock.files

CRYSTAL = """
units {units}
newton {newton}
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
"""
STYLE = "pair_style python ${jaxff_cutoff}\n"


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("absent", f"{STYLE}pair_coeff * * {MANY_BODY} Si", "cannot read .*absent.jaxff"),
        ("silicon", f"{STYLE}pair_coeff * * {MANY_BODY} Ge", "no element Ge; it has Si"),
        (
            "silicon",
            f"pair_style python 3.5\npair_coeff * * {MANY_BODY} Si\nrun 2",
            r"below 4.*write `pair_style python \$\{jaxff_cutoff\}`",
        ),
        ("silicon", f"pair_style python 1.5\npair_coeff * * {MANY_BODY} Si\nrun 0", "below 4"),
        (
            "silicon",
            f"{STYLE}pair_coeff * * {MANY_BODY} Si\npair_write 1 1 10 r 1 4 t Si",
            "no energies of single pairs.*Pairwise",
        ),
        (
            "silicon",
            f"{STYLE}pair_coeff * * {MANY_BODY} Si\ncompute p all pair/local eng\ncompute s all reduce sum c_p\n"
            "thermo_style custom step c_s\nrun 0",
            "no energies of single pairs",
        ),
        ("sw", f"{STYLE}pair_coeff * * {PAIRWISE} Si", "not a sum over pairs.*ManyBody"),
        (
            "silicon",
            f"{STYLE}pair_coeff * * {MANY_BODY} Si\ncreate_atoms 1 single 0 0 0\nrun 0",
            "atom with id .*another atom is at the same place",
        ),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(stock_lammps, files, tmp_path, file, lines, message):
    done = stock_lammps(
        CRYSTAL.format(units="metal", newton="on") + load(files / f"{file}.jaxff") + lines, tmp_path, check=False
    )
    assert done.returncode == 1
    assert_one_line(done.stderr, message)


@pytest.mark.parametrize(
    ("units", "newton", "options", "message"),
    [
        ("metal", "off", "double", "write `newton on`"),
        ("lj", "on", "double", "cannot work in units lj; use metal, real"),
        ("metal", "on", "half", "option 'half' is unknown; give single or double"),
    ],
)
def test_settings_it_cannot_work_with(stock_lammps, files, tmp_path, units, newton, options, message):
    script = CRYSTAL.format(units=units, newton=newton) + load(files / "silicon.jaxff", options)
    done = stock_lammps(script + f"{STYLE}pair_coeff * * {MANY_BODY} Si\nrun 0\n", tmp_path, check=False)
    assert done.returncode == 1
    assert_one_line(done.stderr, message)


def test_without_loading(stock_lammps, tmp_path):
    script = CRYSTAL.format(units="metal", newton="on") + f"pair_style python 4.0\npair_coeff * * {MANY_BODY} Si\n"
    done = stock_lammps(script, tmp_path, check=False)
    assert done.returncode == 1
    assert "before pair_style, give the two `python load ...` lines" in done.stderr


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        ("create_atoms 1 single 0.2 0.2 0.2\ncreate_atoms 1 single 0.2 0.2 0.2", "another atom is at the same place"),
        ("create_atoms 1 single 0.2 0.2 3.2", "a rank has atoms but no pair"),
    ],
)
def test_one_rank_that_fails_ends_them_all(stock_lammps, files, tmp_path, atoms, message):
    """What fails is on one of two ranks, the other waits in MPI."""
    box = CRYSTAL.format(units="metal", newton="on").replace(
        "create_atoms 1 box", "region low block 0 2 0 2 0 1\ncreate_atoms 1 region low"
    )
    box = "processors 1 1 2\n" + box.replace("block 0 2 0 2 0 2", "block 0 2 0 2 0 4")
    script = box + atoms + load(files / "silicon.jaxff") + f"{STYLE}pair_coeff * * {MANY_BODY} Si\nrun 0\n"
    start = time.monotonic()
    done = stock_lammps(script, tmp_path, 2, check=False, timeout=60)
    assert done.returncode != 0
    assert time.monotonic() - start < 40
    assert_one_line(done.stderr, message)


def assert_one_line(stderr, message):
    lines = [line for line in stderr.splitlines() if line.startswith("jaxff: error")]
    assert len(lines) == 1, stderr
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in stderr
