"""What users of a stock LAMMPS rely on: pair_style python gives the numbers of the file, on any number of ranks.
Run with Debian's `lammps` package."""

from __future__ import annotations

import numpy as np
import pytest
import stock_lammps as stock
from ase.build import bulk
from stock_lammps import EXAMPLES, MANY_BODY, PAIRWISE, load

from jax_models import Potential

stock_lammps, files = stock.stock_lammps, stock.files
BAR = 1.6021765e6  # LAMMPS's own eV/Å³ in bar
SILICON_MASS = 28.0855


def silica(repeat=(2, 2, 2), seed=0):
    """A rattled, sheared crystal of two elements; its cell is lower triangular, as LAMMPS has it."""
    atoms = bulk("Si", cubic=True) * repeat
    atoms.symbols[::3] = "O"
    atoms.rattle(0.15, seed=seed)
    atoms.set_cell(atoms.cell.array @ [[1.0, 0, 0], [0.1, 1.02, 0], [-0.15, 0.2, 0.97]], scale_atoms=True)
    return atoms


def write_data(atoms, path, order):
    """A LAMMPS data file with the elements of ``order`` as types."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array
    lines = [
        "atoms",
        f"{len(atoms)} atoms",
        f"{len(order)} atom types",
        f"0 {lx!r} xlo xhi",
        f"0 {ly!r} ylo yhi",
        f"0 {lz!r} zlo zhi",
    ]
    lines += [
        f"{xy!r} {xz!r} {yz!r} xy xz yz",
        "",
        "Masses",
        "",
        *(f"{n} 20.0" for n in range(1, len(order) + 1)),
        "",
        "Atoms",
        "",
    ]
    for n, (symbol, r) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), 1):
        lines.append(f"{n} {order.index(symbol) + 1} {r[0]!r} {r[1]!r} {r[2]!r}")
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")


OUTPUT = """
thermo_style custom step atoms pe pxx pyy pzz pxy pxz pyz etotal
thermo_modify format float %.16g
"""


def thermo(done):
    """The numbers of each thermo line, by column."""
    rows, columns = [], None
    for line in done.stdout.splitlines():
        if line.split()[:2] == ["Step", "Atoms"]:
            columns = line.split()
        elif line.startswith("Loop time"):
            columns_done, columns = columns, None
        elif columns:
            rows.append([float(v) for v in line.split()])
    return dict(zip(columns_done, np.array(rows).T, strict=True))


def forces(path):
    """The forces of a dump of id fx fy fz, in the order of the ids."""
    rows = np.loadtxt(path, skiprows=9)
    return rows[np.argsort(rows[:, 0]), 1:]


def assert_pressure(row, virial, volume, rtol):
    got = -np.array([row[k][0] for k in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]) / BAR * volume
    expected = virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize(("ranks", "precision"), [(1, "double"), (2, "double"), (1, "single")])
def test_the_numbers_of_the_file(stock_lammps, files, tmp_path, ranks, precision):
    """Two elements whose types are in another order than in the file, in a sheared cell."""
    atoms = silica()
    write_data(atoms, tmp_path / "data", ["O", "Si"])
    script = f"""
units metal
box tilt large
read_data data
{load(files / "silica.jaxff", precision)}
pair_style python ${{jaxff_cutoff}}
pair_coeff * * {MANY_BODY} O Si
{OUTPUT}
run 0
write_dump all custom forces id fx fy fz modify format float %.16g
"""
    row = thermo(stock_lammps(script, tmp_path, ranks))
    expected = Potential.load(files / "silica.jaxff").evaluate(
        atoms.positions, atoms.cell.array, True, list(atoms.symbols)
    )
    tolerance = 1e-9 if precision == "double" else 2e-5
    np.testing.assert_allclose(row["PotEng"], expected["energy"], rtol=0, atol=tolerance * len(atoms))
    np.testing.assert_allclose(forces(tmp_path / "forces"), expected["forces"], rtol=0, atol=10 * tolerance)
    assert_pressure(row, expected["virial"], atoms.get_volume(), tolerance)


@pytest.mark.parametrize("ranks", [1, 2])
def test_dynamics_of_stillinger_weber(stock_lammps, files, tmp_path, ranks):
    """LAMMPS's own pair_style sw is the judge, through diffusion across ranks: a hot crystal, then another number of
    atoms."""

    def script(pair):
        return f"""
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 4
create_box 1 box
create_atoms 1 box
mass 1 {SILICON_MASS}
{pair}
velocity all create 3000 4711 loop geom
neighbor 1.0 bin
fix 1 all nve
timestep 0.001
thermo 10
{OUTPUT}
run 200
region hole sphere 1 1 2 0.6
delete_atoms region hole
change_box all x scale 0.98 remap
run 50
minimize 0 1e-4 100 200
"""

    ours = load(files / "sw.jaxff") + f"pair_style python ${{jaxff_cutoff}}\npair_coeff * * {MANY_BODY} Si"
    done = stock_lammps(script(ours), tmp_path, ranks)
    got, expected = (
        thermo(done),
        thermo(stock_lammps(script(f"pair_style sw\npair_coeff * * {files / 'Si.sw'} Si"), tmp_path, ranks)),
    )
    assert got["Atoms"][-1] < got["Atoms"][0]
    first = got["Step"] <= 100  # beyond, rounding is amplified by the melt
    for column in ("PotEng", "Pxx", "Pyz", "TotEng"):
        np.testing.assert_allclose(
            got[column][first], expected[column][first], rtol=2e-6, atol=1e-5 if "P" != column[0] else 0.1
        )
    nve = (got["Step"] <= 200) & (got["Atoms"] == got["Atoms"][0])
    drift, judge = (np.ptp(t["TotEng"][nve]) / got["Atoms"][0] for t in (got, expected))
    assert drift < 1.5 * judge < 5e-3
    np.testing.assert_allclose(
        got["PotEng"][-1] / got["Atoms"][-1], expected["PotEng"][-1] / got["Atoms"][-1], atol=0.02
    )


def test_beside_another_style_with_null(stock_lammps, files, tmp_path):
    """hybrid/overlay: the model sees silicon only, oxygen is Lennard-Jones to all."""
    atoms = silica((2, 1, 1))
    write_data(atoms, tmp_path / "data", ["Si", "O"])
    lj = "0.01 2.0"
    head = "units metal\nbox tilt large\nread_data data\n"
    tail = OUTPUT + "run 0\nwrite_dump all custom forces id fx fy fz modify format float %.16g\n"
    both = f"""{head}{load(files / "silicon.jaxff")}
pair_style hybrid/overlay python ${{jaxff_cutoff}} lj/cut 4.0
pair_coeff * * python {MANY_BODY} Si NULL
pair_coeff * 2 lj/cut {lj}
{tail}"""
    alone = f"{head}pair_style lj/cut 4.0\npair_coeff 1 1 0 1\npair_coeff * 2 {lj}\n{tail}"
    got, got_forces = thermo(stock_lammps(both, tmp_path)), forces(tmp_path / "forces")
    other, other_forces = thermo(stock_lammps(alone, tmp_path)), forces(tmp_path / "forces")
    silicon = atoms[atoms.symbols == "Si"]
    expected = Potential.load(files / "silicon.jaxff").evaluate(
        silicon.positions, atoms.cell.array, True, ["Si"] * len(silicon)
    )
    np.testing.assert_allclose(got["PotEng"] - other["PotEng"], expected["energy"], atol=1e-8)
    difference = got_forces - other_forces
    np.testing.assert_allclose(difference[atoms.symbols == "Si"], expected["forces"], atol=1e-8)
    np.testing.assert_allclose(difference[atoms.symbols == "O"], 0.0, atol=1e-8)
    pressure = {k: got[k] - other[k] for k in got}
    assert_pressure(pressure, expected["virial"], atoms.get_volume(), 1e-8)


@pytest.mark.parametrize(
    ("units", "energy", "distance"),
    [("real", 23.060547830619026, 1.0), ("electron", 1 / 27.211386245988, 1 / 0.529177210903)],
)
def test_other_units(stock_lammps, files, tmp_path, units, energy, distance):
    atoms = silica((2, 1, 1))
    expected = Potential.load(files / "silica.jaxff").evaluate(
        atoms.positions, atoms.cell.array, True, list(atoms.symbols)
    )
    atoms.set_cell(atoms.cell.array * distance, scale_atoms=True)
    write_data(atoms, tmp_path / "data", ["Si", "O"])
    script = f"""
units {units}
box tilt large
read_data data
{load(files / "silica.jaxff")}
pair_style python ${{jaxff_cutoff}}
pair_coeff * * {MANY_BODY} Si O
{OUTPUT}
run 0
write_dump all custom forces id fx fy fz modify format float %.16g
"""
    row = thermo(stock_lammps(script, tmp_path))
    np.testing.assert_allclose(row["PotEng"], expected["energy"] * energy, rtol=1e-11)
    np.testing.assert_allclose(
        forces(tmp_path / "forces"), expected["forces"] * energy / distance, rtol=1e-8, atol=1e-9
    )


ARGON = (
    """
units metal
newton {newton}
lattice fcc 5.3
region box block 0 4 0 4 0 4
create_box 1 box
create_atoms 1 box
mass 1 39.948
displace_atoms all random 0.04 0.04 0.04 3
{pair}
compute pe all pe/atom
compute stress all stress/atom NULL
fix 1 all nve
timestep 0.002
thermo 5
"""
    + OUTPUT
)


@pytest.mark.parametrize(("ranks", "newton"), [(1, "on"), (2, "on"), (2, "off")])
def test_pairs_as_an_ordinary_pair_potential(stock_lammps, files, tmp_path, ranks, newton):
    """Against pair_style lj/cut: dynamics, per-atom energies and stresses."""
    dump = (
        "dump 1 all custom 5 at.* id fx fy fz c_pe c_stress[1] c_stress[4]\ndump_modify 1 format float %.16g\nrun 5\n"
    )
    ours = load(files / "lj.jaxff") + f"pair_style python ${{jaxff_cutoff}}\npair_coeff * * {PAIRWISE} Ar"
    theirs = "pair_style lj/cut 8.5\npair_coeff 1 1 0.0104 3.4"
    results = []
    for pair in (ours, theirs):
        row = thermo(stock_lammps(ARGON.format(newton=newton, pair=pair) + dump, tmp_path, ranks))
        results.append((row["PotEng"], row["Pxy"], forces(tmp_path / "at.5")))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def test_pair_write_makes_tables(stock_lammps, files, tmp_path):
    """Of a two-body ACE with ZBL, whose pairs and lone atoms then make up the energy of a crystal."""
    potential = Potential.load(files / "pairs.jaxff")
    atoms = silica((2, 1, 1))
    write_data(atoms, tmp_path / "data", ["Si", "O"])
    script = f"""
units metal
box tilt large
read_data data
{load(files / "pairs.jaxff")}
pair_style python ${{jaxff_cutoff}}
pair_coeff * * {PAIRWISE} Si O
pair_write 1 2 200 r 0.3 4.0 table.txt SiO
{OUTPUT}
run 0
"""
    row = thermo(stock_lammps(script, tmp_path))
    lone = {e: potential.evaluate(np.zeros((1, 3)), np.zeros((3, 3)), False, [e])["energy"] for e in ("Si", "O")}
    whole = potential.evaluate(atoms.positions, atoms.cell.array, True, list(atoms.symbols))
    np.testing.assert_allclose(row["PotEng"], whole["energy"] - sum(lone[s] for s in atoms.symbols), atol=1e-7)
    table = np.loadtxt([line for line in (tmp_path / "table.txt").read_text().splitlines() if line[:1].isdigit()])
    _, r, energy, force = table[::20].T
    ends = np.arange(len(r))[:, None, None] * [100.0, 0, 0] + r[:, None, None] * [[0, 0, 0], [0, 0, 1]]
    dimers = potential.evaluate(ends.reshape(-1, 3), np.zeros((3, 3)), False, ["Si", "O"] * len(r))
    np.testing.assert_allclose(
        energy, dimers["energies"].reshape(-1, 2).sum(1) - sum(lone.values()), rtol=1e-6, atol=1e-8
    )
    np.testing.assert_allclose(force, dimers["forces"][1::2, 2], rtol=1e-6, atol=1e-8)


def test_the_example(stock_lammps, files, tmp_path):
    script = (EXAMPLES / "in.pair_python").read_text()
    done = stock_lammps(script, tmp_path, arguments=["-var", "model", str(files / "sw.jaxff"), "-var", "steps", "20"])
    assert "Loop time" in done.stdout
