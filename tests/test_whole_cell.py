"""Potentials of whole cells: the same numbers from a file, in ASE and in LAMMPS on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from lammps_runs import BAR, run_lammps, write_data
from test_lammps import CUBE, SKEW, Case
from training_data import emt_structures
from whole_cell_potentials import whole_cell_potential

from jax_models import ConfigError, Potential, StructureError
from jax_models.training.gradient.trainer import train
from jax_models.training.linear.linear_trainer import train_linear
from jax_models.whole_cell import enclosing_cell
from jaxff import JaxffCalculator
from jaxff.config import load_config

CASES = [
    Case("triclinic", SKEW, 40, newton="off", seed=2),
    Case("slab", np.diag([9.0, 10.0, 30.0]), 40, boundary="p p f", box=CUBE, seed=4),
    Case("cluster", np.diag([40.0, 12.0, 12.0]), 20, boundary="f f f", box=np.diag([9.0, 10.0, 10.0]), seed=5),
]
RUN = """
clear
units metal
atom_style atomic
boundary {boundary}
newton {newton}
processors {processors}
read_data {name}.data
mass * 20.0
{pair}
compute energies all pe/atom
compute virial all pressure NULL virial
thermo_style custom step pe c_virial[*]
run 0
write_dump all custom {name}.dump id fx fy fz c_energies modify sort id format float %.17g
print '$(pe:%.17g) $(c_virial[1]:%.17g) $(c_virial[2]:%.17g) $(c_virial[3]:%.17g) &
$(c_virial[4]:%.17g) $(c_virial[5]:%.17g) $(c_virial[6]:%.17g)' file {name}.out
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the potential and the structures, and the potential itself, read from its file."""
    folder = tmp_path_factory.mktemp("whole_cell")
    whole_cell_potential().save(folder / "SiO.jaxff")
    for case in CASES:
        write_data(folder / f"{case.name}.data", case.positions, case.cell, case.types, 2)
    return folder, Potential.load(folder / "SiO.jaxff")


def atoms_of(case):
    return Atoms(case.symbols, case.positions, cell=case.cell, pbc=case.periodic)


@pytest.mark.parametrize(
    ("ranks", "names"),
    [(1, ("triclinic",)), (2, ("triclinic",)), pytest.param(4, ("slab", "cluster"), marks=pytest.mark.slow)],
)
def test_lammps_gives_what_ase_gives(prepared, ranks, names):
    folder, potential = prepared
    cases = [c for c in CASES if c.name in names]
    pair = "pair_style jaxff precision double\npair_coeff * * SiO.jaxff Si O"
    script = "".join(
        RUN.format(name=c.name, boundary=c.boundary, newton=c.newton, processors=f"{ranks} 1 1", pair=pair)
        for c in cases
    )
    run_lammps(script, folder, ranks)
    for case in cases:
        atoms = atoms_of(case)
        atoms.calc = JaxffCalculator(potential, "double")
        energy, *pressure = np.loadtxt(folder / f"{case.name}.out")
        rows = np.loadtxt(folder / f"{case.name}.dump", skiprows=9)
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8), case.name
        np.testing.assert_allclose(rows[:, 1:4], atoms.get_forces(), atol=1e-8, err_msg=case.name)
        np.testing.assert_allclose(rows[:, 4], atoms.get_potential_energies(), atol=1e-9, err_msg=case.name)
        stress = atoms.get_stress()[[0, 1, 2, 5, 4, 3]]
        np.testing.assert_allclose(np.array(pressure) / BAR, -stress, atol=1e-9, err_msg=case.name)


def test_lammps_refuses_virials_of_atoms(prepared):
    folder, _ = prepared
    pair = "pair_style jaxff\npair_coeff * * SiO.jaxff Si O\ncompute stresses all stress/atom NULL\n"
    script = RUN.format(name="triclinic", boundary="p p p", newton="on", processors="1 1 1", pair=pair)
    script = script.replace(
        "run 0", "compute total all reduce sum c_stresses[1]\nthermo_style custom step c_total\nrun 0"
    )
    outcome = run_lammps(script, folder, status=None)
    assert outcome.status != 0 and "sees the whole cell and has no virial of single atoms" in outcome.output


def test_forces_and_stress_are_derivatives(prepared):
    _, potential = prepared
    atoms = atoms_of(CASES[0])
    atoms.calc = JaxffCalculator(potential, "double")
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    compilations = atoms.calc.evaluator.compilations
    positions, cell, step = atoms.positions.copy(), atoms.cell.array.copy(), 1e-4
    generator = np.random.default_rng(0)
    direction, strain = generator.normal(size=positions.shape), generator.normal(size=(3, 3))
    strain += strain.T
    moved, strained = [], []
    for sign in (1, -1):
        atoms.positions = positions + sign * step * direction
        moved.append(atoms.get_potential_energy())
        atoms.positions = positions
        atoms.set_cell(cell @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        strained.append(atoms.get_potential_energy())
        atoms.set_cell(cell, scale_atoms=True)
    np.testing.assert_allclose((moved[0] - moved[1]) / (2 * step), -np.sum(forces * direction), rtol=2e-5)
    numerical = (strained[0] - strained[1]) / (2 * step * atoms.get_volume())
    np.testing.assert_allclose(numerical, np.sum(stress * strain), rtol=2e-5)
    assert atoms.calc.evaluator.compilations == compilations, "a strain of 1e-4 is to keep its grid"


def test_what_has_no_meaning_is_refused(prepared):
    _, potential = prepared
    cell = np.array([[3.0, 0, 0], [6.0, 0, 0], [0, 0, 3.0]])
    with pytest.raises(StructureError, match="its cell has no volume"):
        enclosing_cell(np.zeros((1, 3)), cell, True, 3.0)
    with pytest.raises(ConfigError, match="makes a local potential"):
        Potential.from_function(lambda nb: nb.mask.sum(1), ["Si"], 3.0, kind="global")
    with pytest.raises(ConfigError, match="priors act between neighbours"):
        whole_cell = potential.architecture | {"priors": [{"name": "zbl"}]}
        from jax_models.models import build

        build(whole_cell, ("Si", "O"), 5.0)


def test_training_on_energies_alone():
    structures = emt_structures(16, alloy=False)
    small = ["n_max=2", "l_max=1", "n_scales=2", "orders=[1]", "beta_0=1.0"]
    config = load_config(model="scattering", overrides=[f"model.descriptor.{setting}" for setting in small])
    settings = config.settings()
    assert (settings.method, settings.force_weight, settings.stress_weight) == ("linear", 0.0, 0.0)
    assert load_config(model="scattering", overrides=["training.force_weight=2"]).settings().force_weight == 2.0
    potential = train_linear(structures, config.model.architecture(), 5.0, settings).potential
    assert potential.contract.kind == "global"
    errors = potential.provenance["metrics"]["train"]
    spread = np.std([s.energy / len(s) for s in structures])
    assert errors["energy_rmse"] < 0.2 * spread
    with pytest.raises(ConfigError, match="set training.method=linear"):
        train(structures, config.model.architecture(), 5.0)
