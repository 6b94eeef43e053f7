"""Every way of evaluating, inside every hybrid style: what comes out is the sum of its parts.

One process for each number of ranks runs all cases, one after the other: room for communication that does not suffice
ends it, or spoils a later case.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_lammps, write_data
from strategy_potentials import MAKE, save_potentials
from test_lammps import random_positions

CELL = np.diag([12.0, 11.0, 10.0])
N = 60
OURS = "pair_coeff * * jaxff {model}.jaxff Si O NULL"
PAIRS = {
    "alone": "pair_style jaxff precision double\npair_coeff * * {model}.jaxff Si O NULL",
    "hybrid": f"pair_style hybrid jaxff precision double zbl 2.0 3.0\n{OURS}\npair_coeff * 3 zbl 10 10",
    "hybrid/overlay": f"pair_style hybrid/overlay zbl 2.0 3.0 jaxff precision double\n{OURS}\npair_coeff * * zbl 10 10",
    "hybrid/scaled": f"pair_style hybrid/scaled 0.5 jaxff precision double 0.25 zbl 2.0 3.0\n{OURS}\n"
    "pair_coeff * * zbl 10 10",
}
ZBL = {
    "zbl some": "pair_style hybrid zbl 2.0 3.0\npair_coeff * 3 zbl 10 10\npair_coeff 1*2 1*2 none",
    "zbl all": "pair_style zbl 2.0 3.0\npair_coeff * * 10 10",
}
PARTS = {
    "hybrid": (1.0, 1.0, "zbl some"),
    "hybrid/overlay": (1.0, 1.0, "zbl all"),
    "hybrid/scaled": (0.5, 0.25, "zbl all"),
}
"""Shares of ours and of zbl, and which zbl."""
SCRIPT = """
clear
units metal
newton {newton}
processors {ranks} 1 1
read_data three.data
mass * 20.0
{pair}
compute energies all pe/atom
{stresses}
compute sum all reduce sum c_energies
compute virial all pressure NULL virial
thermo_style custom step pe c_virial[*] c_sum
run 0
write_dump all custom {file}.dump id fx fy fz c_energies {fields} modify sort id format float %.17g
print '[$(pe:%.17g), $(c_virial[1]:%.17g), $(c_virial[2]:%.17g), $(c_virial[3]:%.17g), $(c_virial[4]:%.17g), &
$(c_virial[5]:%.17g), $(c_virial[6]:%.17g)]' file {file}.json
"""


def file_of(pair: str, model: str, newton: str, ranks: int) -> str:
    return f"{pair}_{model}_{newton}_{ranks}".replace("/", "_").replace(" ", "_")


def section(pair: str, text: str, model: str, newton: str, ranks: int) -> str:
    has_virials = model != "cell"
    return SCRIPT.format(
        newton=newton, ranks=ranks, pair=text.format(model=model), file=file_of(pair, model, newton, ranks),
        stresses="compute stresses all stress/atom NULL virial" if has_virials else "",
        fields="c_stresses[*]" if has_virials else "",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrids")
    save_potentials(folder)
    write_data(folder / "three.data", random_positions(CELL, N, 1.7, 0), CELL, np.arange(N) % 5 // 2 + 1, 3)
    return folder


@pytest.fixture(scope="module")
def outputs(folder):
    """Runs all cases on a number of ranks, once; returns what LAMMPS printed."""
    done: dict[int, str] = {}

    def run(ranks: int) -> str:
        if ranks not in done:
            script = "".join(
                section(pair, text, model, newton, ranks)
                for model, newton, (pair, text) in product(MAKE, ("on", "off"), PAIRS.items())
            )
            script += "".join(section(pair, text, "zbl", "on", ranks) for pair, text in ZBL.items())
            done[ranks] = run_lammps(script, folder, ranks, status=None).output
        return done[ranks]

    return run


def read(folder: Path, *case) -> tuple[np.ndarray, np.ndarray]:
    """Energy and pressure; and a row for each atom."""
    name = file_of(*case)
    totals = np.array(json.loads((folder / f"{name}.json").read_text()))
    return totals, np.loadtxt(folder / f"{name}.dump", skiprows=9)[:, 1:]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("newton", ["on", "off"])
@pytest.mark.parametrize("pair", PARTS)
@pytest.mark.parametrize("model", MAKE)
def test_a_hybrid_is_the_sum_of_its_parts(folder, outputs, model, pair, newton, ranks):
    outputs(1)  # what the parts give alone
    output = outputs(ranks)
    if not (folder / f"{file_of(pair, model, newton, ranks)}.json").exists():
        pytest.fail(output[-3000:])
    ours, theirs, zbl = PARTS[pair]
    totals, atoms = read(folder, pair, model, newton, ranks)
    our_totals, our_atoms = read(folder, "alone", model, "on", 1)
    their_totals, their_atoms = read(folder, zbl, "zbl", "on", ranks)
    assert np.abs(our_atoms[:, :3]).max() > 1e-3 and np.abs(their_atoms[:, :3]).max() > 1e-3
    expected = ours * our_totals + theirs * their_totals
    assert totals[0] == pytest.approx(expected[0], abs=1e-8)
    np.testing.assert_allclose(totals[1:], expected[1:], atol=1e-6 * np.abs(expected[1:]).max())
    columns = atoms.shape[1]
    rows = ours * our_atoms + theirs * their_atoms[:, :columns]
    np.testing.assert_allclose(atoms[:, :4], rows[:, :4], atol=1e-8)
    np.testing.assert_allclose(atoms[:, 4:], rows[:, 4:], atol=1e-8 * max(np.abs(rows[:, 4:]).max(initial=0.0), 1.0))
