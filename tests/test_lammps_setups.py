"""The settings LAMMPS users combine a pair style with: units, NULL types, hybrid styles, per-atom virials, heat
flux."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import make_potential
from lammps_runs import BAR, EVALUATE, read_evaluation, run_lammps, write_data
from test_lammps import CUBE, ELEMENTS, SKEW, SMALL, random_positions

PAIR = "pair_style jaxff precision double\npair_coeff * * SiO.jaxff {}"


@pytest.fixture(scope="module")
def potential():
    return make_potential(ELEMENTS, architecture=SMALL)


@pytest.fixture
def folder(tmp_path, potential):
    potential.save(tmp_path / "SiO.jaxff")
    return tmp_path


def test_null_types_are_left_out(folder, potential):
    """Atoms of a NULL type feel nothing and are felt by nobody; type order is free; an element may come twice."""
    positions, types = random_positions(CUBE, 30, 1.7, 0), np.arange(30) % 4 + 1
    write_data(folder / "null.data", positions, CUBE, types, 4)
    run_lammps(
        EVALUATE.format(
            name="null", boundary="p p p", newton="on", processors="* * *", pair=PAIR.format("O NULL Si O")
        ),
        folder,
    )
    found = read_evaluation(folder, "null")
    kept = types != 2
    symbols = [{1: "O", 3: "Si", 4: "O"}[t] for t in types[kept]]
    expected = potential.evaluate(positions[kept], CUBE, True, symbols)
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-12)
    np.testing.assert_allclose(found["forces"][kept], expected["forces"], atol=1e-8)
    assert not found["forces"][~kept].any()


HYBRID = """pair_style hybrid/overlay jaxff precision double zbl 1.0 2.0 jaxff precision double
pair_coeff * * jaxff 1 SiO.jaxff Si NULL
pair_coeff * * jaxff 2 SiO.jaxff NULL O
pair_coeff 1 2 zbl 14 8
"""


def test_hybrid_overlay_with_two_of_ours(folder, potential):
    """Silicon and oxygen each see their own kind through the model, each other through ZBL alone."""
    positions, types = random_positions(SKEW, 30, 1.7, 0), np.arange(30) % 2 + 1
    write_data(folder / "ours.data", positions, SKEW, types, 2)
    write_data(folder / "zbl.data", positions, SKEW, types, 2)
    common = {"boundary": "p p p", "newton": "on", "processors": "* * *"}
    zbl = "pair_style hybrid zbl 1.0 2.0\npair_coeff 1 2 zbl 14 8\npair_coeff 1 1 none\npair_coeff 2 2 none"
    script = EVALUATE.format(name="ours", pair=HYBRID, **common)
    script += EVALUATE.format(name="zbl", pair=zbl, **common)
    run_lammps(script, folder)
    ours, only_zbl = read_evaluation(folder, "ours"), read_evaluation(folder, "zbl")
    parts = [potential.evaluate(positions[types == t], SKEW, True, [ELEMENTS[t - 1]] * 15) for t in (1, 2)]
    volume = np.linalg.det(SKEW)
    np.testing.assert_allclose(ours["energy"] - only_zbl["energy"], sum(p["energy"] for p in parts), rtol=1e-10)
    np.testing.assert_allclose(
        (ours["pressure"] - only_zbl["pressure"]) * volume / BAR, -sum(p["virial"] for p in parts), atol=1e-8
    )
    for t, part in zip((1, 2), parts, strict=True):
        np.testing.assert_allclose((ours["forces"] - only_zbl["forces"])[types == t], part["forces"], atol=1e-8)


UNITS = """
clear
units {units}
region box block 0 {lx:.17g} 0 {ly:.17g} 0 {lz:.17g}
create_box 1 box
{atoms}
mass 1 1.0
neighbor {skin} bin
pair_style jaxff precision double
pair_coeff * * SiO.jaxff Si
run 0
write_dump all custom {units}.dump fx fy fz modify sort id format float %.17g
print "found {units} $(pe:%.17g) $(press:%.17g)"
"""
# one eV, one Å and LAMMPS's unit of pressure (in eV/Å^3 x energy/volume of the style) in each style
STYLES = {
    "metal": (1.0, 1.0, 1.6021765e6),
    "real": (23.0605478306, 1.0, 68568.415),
    "si": (1.602176634e-19, 1e-10, 1.0),
    "electron": (1 / 27.211386245988, 1 / 0.529177210903, 2.94210108e13),
}


def test_units_are_converted(folder, potential):
    positions = random_positions(CUBE, 30, 1.7, 0)
    script = ""
    for units, (_, length, _) in STYLES.items():
        x, (lx, ly, lz) = positions * length, np.diag(CUBE) * length
        atoms = "\n".join("create_atoms 1 single {:.17g} {:.17g} {:.17g} units box".format(*r) for r in x)
        script += UNITS.format(units=units, lx=lx, ly=ly, lz=lz, atoms=atoms, skin=2.0 * length)
    output = run_lammps(script, folder).output
    expected = potential.evaluate(positions, CUBE, True, ["Si"] * 30)
    for units, (energy, length, pressure) in STYLES.items():
        line = next(line for line in output.splitlines() if line.startswith(f"found {units}"))
        pe, press = map(float, line.split()[2:])
        np.testing.assert_allclose(pe / energy, expected["energy"], rtol=1e-9, err_msg=units)
        static = -np.trace(expected["virial"]) / 3 / np.linalg.det(CUBE) * energy / length**3 * pressure
        np.testing.assert_allclose(press, static, rtol=1e-6, err_msg=units)
        forces = np.loadtxt(folder / f"{units}.dump", skiprows=9) * length / energy
        np.testing.assert_allclose(forces, expected["forces"], atol=1e-7, err_msg=units)


HEAT = """
units metal
boundary f f f
newton {newton}
read_data heat.data
mass * 20.0
velocity all create 2000 4711
pair_style jaxff precision double
pair_coeff * * SiO.jaxff Si O
compute ke all ke/atom
compute pe all pe/atom
compute stress all centroid/stress/atom NULL virial
compute flux all heat/flux ke pe stress
thermo_style custom step c_flux[1] c_flux[2] c_flux[3]
run 0
write_dump all custom velocities.dump vx vy vz modify sort id format float %.17g
print 'flux $(c_flux[1]:%.17g) $(c_flux[2]:%.17g) $(c_flux[3]:%.17g)'
"""


@pytest.mark.parametrize(("newton", "ranks"), [("on", 1), ("on", 2), ("off", 2)])
def test_heat_flux_is_the_energy_that_moves(folder, potential, newton, ranks):
    """J = d/dt sum of r_i E_i, by finite differences along the velocities (the kinetic terms by hand)."""
    positions, types = random_positions(np.diag([8.0, 8.0, 8.0]), 20, 1.7, 0) + 1.0, np.arange(20) % 2 + 1
    write_data(folder / "heat.data", positions, np.diag([10.0, 10.0, 10.0]), types, 2)
    output = run_lammps(HEAT.format(newton=newton), folder, ranks).output
    flux = np.array(next(line for line in output.splitlines() if line.startswith("flux")).split()[1:], float)
    velocities = np.loadtxt(folder / "velocities.dump", skiprows=9)
    symbols = [ELEMENTS[t - 1] for t in types]

    def at(time):
        return potential.evaluate(positions + time * velocities, np.eye(3) * 50, False, symbols)

    h = 1e-5
    kinetic = 0.5 * 20.0 * 1.0364269e-4 * np.sum(velocities**2, axis=1)
    now, change = at(0.0), (at(h)["energies"] - at(-h)["energies"]) / (2 * h)
    power = np.sum(now["forces"] * velocities, axis=1)  # what the forces add to each atom's kinetic energy
    expected = (now["energies"] + kinetic) @ velocities + (change + power) @ positions
    np.testing.assert_allclose(flux, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


REPEATED = """
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0
pair_style jaxff precision double threads 2 exchange halo device cpu
{between}
pair_style jaxff
{after}
run 0
"""
COEFF = "pair_coeff * * SiO.jaxff Si"


def test_a_repeated_pair_style_starts_from_the_defaults(folder):
    output = run_lammps(REPEATED.format(between=COEFF, after=COEFF), folder).output
    banners = [line for line in output.splitlines() if line.startswith("pair_style jaxff: SiO.jaxff")]
    assert "double precision" in banners[0] and "2 threads" in banners[0]
    assert "single precision" in banners[1] and "1 thread a rank" in banners[1]


def test_a_repeated_pair_style_needs_its_coefficients_again(folder):
    """The potential that was opened before has the keywords of before."""
    outcome = run_lammps(REPEATED.format(between=COEFF, after=""), folder, status=None)
    assert outcome.status != 0 and "pair coeffs are not set" in outcome.output, outcome.output


TEACHER = {"name": "sw", "pair_style": "sw", "pair_coeff": ["* * Si.sw Si"], "elements": ["Si"]}
DELTA = """
clear
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
displace_atoms all random 0.1 0.1 0.1 4711
mass 1 28.0
{pair}
run 0
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_delta_model_says_which_overlay_it_needs(tmp_path, ranks):
    """What it prints can be pasted, and gives the sum."""
    potential = make_potential(("Si",), architecture=SMALL)
    delta = {"teacher": "sw", "settings": TEACHER}
    dataclasses.replace(potential, provenance={"delta": delta}).save(tmp_path / "delta.jaxff")
    alone = run_lammps(DELTA.format(pair="pair_style jaxff\npair_coeff * * delta.jaxff Si"), tmp_path, ranks)
    lines = alone.output.splitlines()
    said = [n for n, line in enumerate(lines) if "correction to its teacher sw" in line]
    assert len(said) == 1 and lines[said[0]].startswith("WARNING: pair_style jaxff: delta.jaxff"), alone.output
    advice = [line.strip() for line in lines[said[0] + 1 :]][:3]
    assert advice[0] == "pair_style hybrid/overlay sw jaxff"
    both = run_lammps(DELTA.format(pair="\n".join(advice)), tmp_path, ranks)
    assert "correction to its teacher sw" in both.output and "WARNING: pair_style jaxff" not in both.output
    teacher = run_lammps(DELTA.format(pair="pair_style sw\npair_coeff * * Si.sw Si"), tmp_path, ranks)
    assert both.value("E_pair") == pytest.approx(alone.value("E_pair") + teacher.value("E_pair"), rel=1e-6)


def test_a_delta_model_without_settings_names_its_teacher(tmp_path):
    potential = make_potential(("Si",), architecture=SMALL)
    dataclasses.replace(potential, provenance={"delta": {"teacher": "dftb"}}).save(tmp_path / "delta.jaxff")
    output = run_lammps(DELTA.format(pair="pair_style jaxff\npair_coeff * * delta.jaxff Si"), tmp_path).output
    assert "correction to its teacher dftb; add the two: pair_style hybrid/overlay <the style of dftb> jaxff" in output
