"""Uncertainty and grade in LAMMPS: ASE's numbers on any number of ranks, with the atoms they belong to, and in the
hands of LAMMPS's own commands."""

from __future__ import annotations

import json
import os
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from conftest import make_potential
from lammps_runs import run_in_process, run_lammps, write_data
from test_lammps import random_positions
from uncertain_potentials import ACE, ELEMENTS, bare, committee, doubtful

from jaxff import JaxffCalculator

CELL = np.array([[13.0, 0, 0], [2.1, 8.5, 0], [-1.2, 1.0, 9.0]])
N = 60
KCAL = 23.060547830619026
OURS = "jaxff precision double"
PAIRS = {
    "alone": "pair_style {ours}\npair_coeff * * {model}.jaxff Si O",
    "overlay": "pair_style hybrid/overlay zbl 2.0 3.0 {ours}\npair_coeff * * jaxff {model}.jaxff Si O\n"
    "pair_coeff * * zbl 14 14",
    "scaled": "pair_style hybrid/scaled 0.5 {ours} 0.5 zbl 2.0 3.0\npair_coeff * * jaxff {model}.jaxff Si O\n"
    "pair_coeff * * zbl 14 14",
}
CASES = [
    *(("ace", pair, newton, "") for pair, newton in product(PAIRS, ("on", "off"))),
    ("painn", "alone", "on", ""),
    ("painn", "alone", "off", ""),
    ("painn", "overlay", "on", "exchange halo"),
    ("four", "alone", "on", ""),
    ("networks", "overlay", "off", ""),
    ("one layer", "alone", "on", ""),
]
BEGIN = """
clear
units {units}
newton {newton}
processors {ranks} 1 1
read_data sio.data
mass * 20.0
{pair}
"""
ASK = """
fix u all pair 1 jaxff uncertainty 1 grade 1
compute p all pair jaxff
"""
SINGLE = """
thermo_style custom step pe c_p[1] c_p[2]
run 0
write_dump all custom {case}.dump id f_u[1] f_u[2] modify sort id format float %.17g
print '[$(c_p[1]:%.17g), $(c_p[2]:%.17g)]' file {case}.json
"""
HOT = """
velocity all create {kelvin} 4711 loop geom
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
timestep {timestep}
fix nve all nve
"""


def begin(model="ace", pair="alone", newton="on", keywords="", ranks=1, units="metal"):
    text = PAIRS[pair].format(ours=f"{OURS} {keywords}", model=model)
    return BEGIN.format(units=units, newton=newton, ranks=ranks, pair=text)


def case_of(model, pair, newton, keywords, ranks):
    return "_".join((model, pair, newton, keywords, str(ranks))).replace(" ", "_")


@pytest.fixture(scope="module")
def atoms():
    types = np.random.default_rng(3).integers(1, 3, N)
    symbols = [ELEMENTS[t - 1] for t in types]
    return Atoms(symbols, random_positions(CELL, N, 1.9, 0), cell=CELL, pbc=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, atoms):
    folder = tmp_path_factory.mktemp("uncertain")
    potentials = {
        "ace": doubtful(bare("ace")),
        "painn": doubtful(bare("painn")),
        "one layer": doubtful(bare("schnet", n_interactions=1)),
        "four": doubtful(committee("ace", 4)[0]),
        "networks": doubtful(committee("painn", 2)[0]),
    }
    for name, potential in potentials.items():
        potential.save(folder / f"{name.replace(' ', '_')}.jaxff")
    make_potential(ELEMENTS, architecture=ACE).save(folder / "plain.jaxff")
    types = [1 + ELEMENTS.index(symbol) for symbol in atoms.symbols]
    write_data(folder / "sio.data", atoms.positions, CELL, types, 2)
    return folder


def expected(folder, model, atoms):
    """Uncertainty and grade of each atom, by ASE."""
    atoms = atoms.copy()
    atoms.calc = JaxffCalculator(folder / f"{model.replace(' ', '_')}.jaxff", precision="double")
    return np.column_stack(
        [atoms.calc.get_property(name, atoms) for name in ("forces_expected_error", "extrapolation_grade")]
    )


@pytest.fixture(scope="module")
def by_ase(folder, atoms):
    return {model: expected(folder, model, atoms) for model in sorted({case[0] for case in CASES})}


def rows(path):
    return np.loadtxt(path, skiprows=9, ndmin=2)


def frames(path):
    """Rows of each step of a dump, sorted by atom."""
    found, lines = {}, path.read_text().splitlines()
    starts = [n for n, line in enumerate(lines) if line == "ITEM: TIMESTEP"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        values = np.array([line.split() for line in lines[start + 9 : end]], float).reshape(end - start - 9, -1)
        found[int(lines[start + 1])] = values[np.argsort(values[:, 0])] if len(values) else values
    return found


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_same_numbers_as_in_ase(folder, by_ase, ranks):
    """Other styles' forces do not count: the uncertainty is that of ours."""
    cases = [(m.replace(" ", "_"), p, n, k) for m, p, n, k in CASES]
    script = "".join(begin(*case, ranks) + ASK + SINGLE.format(case=case_of(*case, ranks)) for case in cases)
    run_lammps(script, folder, ranks)
    for case in cases:
        name = case_of(*case, ranks)
        found, reference = rows(folder / f"{name}.dump")[:, 1:], by_ase[case[0].replace("_", " ")]
        np.testing.assert_allclose(found, reference, rtol=1e-7, err_msg=name)
        most = json.loads((folder / f"{name}.json").read_text())
        np.testing.assert_allclose(most, found.max(axis=0), rtol=1e-12, err_msg=name)


def test_in_other_units_errors_are_in_their_unit_of_force(folder, by_ase):
    script = begin(units="real") + ASK + SINGLE.format(case="real")
    run_lammps(script, folder)
    np.testing.assert_allclose(rows(folder / "real.dump")[:, 1:], by_ase["ace"] * [KCAL, 1.0], rtol=1e-6)


EVERY = """
atom_modify sort 2 2.0
dump 1 all custom 1 every.dump id f_u[1] f_u[2] xu yu zu proc
dump_modify 1 format float %.17g
thermo_style custom step c_p[1] c_p[2]
thermo 1
thermo_modify format float %.17g
run 3
run 20
run 0
"""


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("pair", ["alone", "overlay"])
def test_every_n_steps_they_stay_with_their_atoms(folder, atoms, pair, ranks):
    """Between two evaluations atoms are sorted and change ranks; a new run begins with a new evaluation."""
    keywords = "every 5 deviation every.txt"
    script = begin("ace", pair, keywords=keywords, ranks=ranks) + ASK + HOT.format(kelvin=20000, timestep=0.001)
    outcome = run_lammps(script + EVERY, folder, ranks)
    found = frames(folder / "every.dump")
    assert sorted(found) == list(range(24))
    # A run begins after the dump of its first step: what it finds there is seen from the next step on.
    source = {step: 5 * (step // 5) for step in found} | {4: 4}
    for step, values in found.items():
        np.testing.assert_array_equal(values[:, 1:3], found[source[step]][:, 1:3], err_msg=str(step))
    moved = atoms.copy()
    for step, shown in ((0, 0), (3, 4), (10, 10), (20, 23)):
        moved.positions = found[step][:, 3:6]
        np.testing.assert_allclose(found[shown][:, 1:3], expected(folder, "ace", moved), rtol=1e-5, err_msg=str(step))
    assert np.ptp(found[20][:, 1]) > 0
    if ranks > 1:
        assert (found[0][:, 6] != found[23][:, 6]).any(), "no atom changed its rank"
    for column, name in ((1, "c_p[1]"), (2, "c_p[2]")):
        most = [found[step][:, column].max() for step in range(24)]
        most.insert(4, most[4])
        np.testing.assert_allclose(outcome.value(name)[:-1], most, rtol=1e-12)
    table = np.loadtxt(folder / "every.txt")
    np.testing.assert_array_equal(table[:, 0], [0, 3, 5, 10, 15, 20, 23])
    for row in table[:-1]:
        values = found[4 if row[0] == 3 else int(row[0])][:, 1:3]
        extremes = np.array([values.max(0), values.min(0), values.mean(0)]).T.ravel()
        np.testing.assert_allclose(row[1:], extremes, rtol=1e-6)
    assert table[-1, 1] == pytest.approx(outcome.value("c_p[1]")[-1], rel=1e-6)
    first = (folder / "every.txt").read_text().splitlines()[0]
    assert first == "# step uncertainty: max min mean grade: max min mean"


COMMANDS = """
variable worst equal c_p[1]
compute most all reduce max f_u[1]
dump 1 all custom 1 all.dump id f_u[1] f_u[2]
dump 2 all custom 1 some.dump id f_u[1] f_u[2]
dump_modify 1 format float %.17g
dump_modify 2 format float %.17g thresh f_u[2] > {limit}
thermo_style custom step v_worst c_most
thermo_modify format float %.17g
thermo 1
run 12
undump 1
undump 2
reset_timestep 0
"""


def test_halt_thresh_and_variables(folder):
    """Stock commands act on them: fix halt at the step where the error first is too large."""
    start = begin() + ASK + HOT.format(kelvin=30000, timestep=0.0005)
    outcome = run_lammps(start + COMMANDS.format(limit=2.9), folder)
    worst = outcome.value("v_worst")
    np.testing.assert_allclose(outcome.value("c_most"), worst, rtol=1e-12)
    everything, some = frames(folder / "all.dump"), frames(folder / "some.dump")
    assert 0 < sum(map(len, some.values())) < sum(map(len, everything.values()))
    for step, values in everything.items():
        above = values[values[:, 2] > 2.9]
        assert len(some[step]) == len(above)
        if len(above):
            np.testing.assert_array_equal(some[step], above)
    records = np.nonzero(worst[2:] > np.maximum.accumulate(worst)[1:-1])[0] + 2
    assert len(records), "the error does not grow in this run; choose another"
    limit = 0.5 * (worst[records[0]] + worst[: records[0]].max())
    halt = "variable worst equal c_p[1]\nthermo_style custom step v_worst\nthermo 1\n"
    halt += f"fix halt all halt 1 v_worst > {limit:.17g} error {{}}\nrun 12\nprint 'and on'\n"
    stopped = run_lammps(start + halt.format("soft"), folder)
    assert f"met on step {records[0]} " in stopped.output
    assert "and on" in stopped.output
    stopped = run_lammps(start + halt.format("hard"), folder, status=None)
    assert stopped.status != 0
    assert "and on" not in stopped.output


def test_minimisation_and_a_full_disk(folder, atoms):
    """After a minimisation the numbers are those of where it ended; a full disk ends the file, not the run."""
    script = begin(keywords="deviation /dev/full") + ASK + "thermo 1\nminimize 0 0 6 40\nrun 0\n"
    script += "write_dump all custom min.dump id f_u[1] f_u[2] xu yu zu modify sort id format float %.17g\n"
    script += begin(keywords="every 3") + ASK + "minimize 0 0 5 40\n"
    script += "write_data written.data\nwrite_restart w.restart\n"
    script += "clear\nunits metal\nread_data written.data\n" + PAIRS["alone"].format(ours=OURS, model="ace")
    script += "\nrun 0\nclear\nread_restart w.restart\n" + PAIRS["alone"].format(ours=f"{OURS} every 2", model="ace")
    script += ASK + "\nrun 4\nprint 'reached the end'\n"
    outcome = run_lammps(script, folder)
    assert outcome.output.count("cannot write the deviation file /dev/full: No space left on device") == 1
    assert "reached the end" in outcome.output
    found = rows(folder / "min.dump")
    moved = atoms.copy()
    moved.positions = found[:, 3:6]
    assert np.abs(moved.positions - atoms.positions).max() > 0.01
    np.testing.assert_allclose(found[:, 1:3], expected(folder, "ace", moved), rtol=1e-6)


PLAIN = "pair_style jaxff {keywords}\npair_coeff * * {model}.jaxff Si O\n"
REFUSALS = {
    "fix": (begin("plain") + ASK, "plain.jaxff knows nothing of its errors"),
    "every": (begin("plain", keywords="every 5") + "run 0\n", "plain.jaxff knows nothing of its errors"),
    "deviation": (begin("plain", keywords="deviation d.txt") + "run 0\n", "plain.jaxff knows nothing of its errors"),
    "later": (
        begin() + "fix u all pair 1 jaxff uncertainty 1\nrun 0\n"
        + PLAIN.format(keywords="", model="plain") + "run 1\n", "plain.jaxff knows nothing of its errors",
    ),
    "too early": (
        begin().replace("pair_coeff", "#") + "fix u all pair 1 jaxff grade 1\n", "give its pair_coeff first",
    ),
    "every 0": (begin(keywords="every 0"), "every must be a positive number of steps, not 0"),
    "no folder": (begin(keywords="deviation nowhere/d.txt") + "run 0\n", "cannot write the deviation file nowhere/d"),
    "another name": (begin() + "fix u all pair 1 jaxff doubt 1\n", "cannot extract doubt"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSALS))
def test_what_cannot_be_is_refused_in_one_line(folder, name):
    script, words = REFUSALS[name]
    outcome = run_lammps(script, folder, status=None)
    assert outcome.status != 0
    assert outcome.output.count(words) == 1, outcome.output
    assert not (folder / "d.txt").exists()


AGAIN = """
{pair}
fix u all pair 1 jaxff uncertainty 1 grade 1
run 0
write_dump all custom again_{n}.dump id f_u[1] f_u[2] modify sort id format float %.17g
unfix u
"""
TWO = """
fix u1 all pair 1 jaxff:1 uncertainty 1 grade 1
fix u2 all pair 1 jaxff:2 uncertainty 1 grade 1
compute p1 all pair jaxff 1
compute p2 all pair jaxff 2
thermo_style custom step c_p1[1] c_p2[1]
run 6
run 0
write_dump all custom two.dump id f_u1[1] f_u1[2] f_u2[1] f_u2[2] modify sort id format float %.17g
print '[$(c_p1[1]:%.17g), $(c_p1[2]:%.17g), $(c_p2[1]:%.17g), $(c_p2[2]:%.17g)]' file two.json
"""


def test_repeated_pair_styles_and_two_in_a_hybrid(folder, by_ase):
    """Nothing stays of an earlier pair style, and two of them keep their values apart."""
    lines = [("ace", "every 4"), ("four", ""), ("ace", "every 2 deviation again.txt"), ("painn", "every 3")]
    text = [PAIRS["alone"].format(ours=f"{OURS} {keywords}", model=model) for model, keywords in lines]
    two = f"pair_style hybrid/overlay {OURS} every 2 {OURS} every 3\npair_coeff * * jaxff 1 ace.jaxff Si O\n"
    two += "pair_coeff * * jaxff 2 four.jaxff Si O"
    script = begin() + "".join(AGAIN.format(n=n, pair=pair) for n, pair in enumerate(text))
    run_lammps(script + begin().replace(PAIRS["alone"].format(ours=f"{OURS} ", model="ace"), two) + TWO, folder)
    for n, (model, _) in enumerate(lines):
        np.testing.assert_allclose(rows(folder / f"again_{n}.dump")[:, 1:], by_ase[model], rtol=1e-7, err_msg=str(n))
    found = rows(folder / "two.dump")[:, 1:]
    np.testing.assert_allclose(found, np.hstack([by_ase["ace"], by_ase["four"]]), rtol=1e-7)
    np.testing.assert_allclose(json.loads((folder / "two.json").read_text()), found.max(axis=0), rtol=1e-12)


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_memory_does_not_grow(folder):
    start = begin(keywords="every 2 deviation leak.txt") + ASK + HOT.format(kelvin=300, timestep=0.0005)
    script = start + "thermo 1000\nrun 300\n"
    sizes = []
    for _ in range(4):
        run_in_process(script, folder)
        sizes.append(resident())
    assert sizes[-1] - sizes[1] < 3e6  # 600 steps of 60 atoms: a leaked array of them each would be 0.9 MB
