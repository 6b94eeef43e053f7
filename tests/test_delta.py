"""A delta model and its teacher are one potential: the same in ASE as in LAMMPS's hybrid/overlay, from `jaxff train`
on."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from conftest import make_potential
from lammps_runs import BAR, run_file, run_lammps, write_data
from test_lammps_examples import EXAMPLES
from training_data import emt_frames

from jax_models import ConfigError, Potential
from jaxff.cli.app import app
from jaxff.knowledge.delta import calculator_of
from jaxff.knowledge.teachers import parse_teacher, potentials_folder

TEACHER = {"name": "sw", "pair_style": "sw", "pair_coeff": ["* * Si.sw Si"], "elements": ["Si"]}
SMALL = {"descriptor": {"name": "ace", "n_channels": 2, "n_radial": 3, "l_max": 1, "body_order": 3}}
SCRIPT = """
units metal
processors {ranks} 1 1
read_data si.data
mass 1 28.0855
pair_style hybrid/overlay sw jaxff precision double
pair_coeff * * sw {folder}/Si.sw Si
pair_coeff * * jaxff delta.jaxff Si
thermo_style custom step pe press pxx pyy pzz pxy pxz pyz
run 0
write_dump all custom si.dump id fx fy fz modify sort id format float %.17g
print '[$(pxx:%.17g), $(pyy:%.17g), $(pzz:%.17g), $(pxy:%.17g), $(pxz:%.17g), $(pyz:%.17g), $(pe:%.17g)]' file si.json
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_ase_and_hybrid_overlay_give_the_same_numbers(tmp_path, ranks):
    potential = make_potential(("Si",), architecture=SMALL)
    dataclasses.replace(potential, provenance={"delta": {"teacher": "sw", "settings": TEACHER}}).save(
        tmp_path / "delta.jaxff"
    )
    crystal = bulk("Si", cubic=True) * 2
    crystal.rattle(0.15, seed=3)
    crystal.wrap()
    write_data(tmp_path / "si.data", crystal.positions, crystal.cell.array, np.ones(len(crystal), int), 1)
    run_lammps(SCRIPT.format(ranks=ranks, folder=potentials_folder()), tmp_path, ranks)
    pressure = json.loads((tmp_path / "si.json").read_text())
    forces = np.loadtxt(tmp_path / "si.dump", skiprows=9)[:, 1:]
    crystal.calc = calculator_of(tmp_path / "delta.jaxff", "double")
    assert pressure.pop() == pytest.approx(crystal.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(forces, crystal.get_forces(), atol=1e-7)
    xx, yy, zz, xy, xz, yz = -np.array(pressure) / BAR
    np.testing.assert_allclose([xx, yy, zz, yz, xz, xy], crystal.get_stress(), atol=1e-7)


def test_the_example_runs_and_conserves_energy(tmp_path):
    if not (EXAMPLES / "Si_delta.jaxff").exists():
        pytest.skip("lammps_examples/Si_delta.jaxff is not there")
    folder = shutil.copytree(EXAMPLES, tmp_path / "lammps_examples")
    outcome = run_file("in.delta", folder, options=["-var", "size", "2", "-var", "steps", "200"])
    assert np.ptp(outcome.value("TotEng")) / 64 < 2e-4
    atoms = bulk("Si", a=5.46, cubic=True) * 2
    atoms.calc = calculator_of(folder / "Si_delta.jaxff")
    assert outcome.value("PotEng")[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-3)


def test_a_delta_model_from_the_command_line(tmp_path, monkeypatch):
    """Labels by EMT, teacher EAM; evaluated as the sum, whatever happens to the zero of energy."""
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", emt_frames(10, alloy=False))
    (tmp_path / "t.yaml").write_text(
        "teachers: [{name: eam, pair_style: eam, pair_coeff: 1 1 Cu_u3.eam, elements: [Cu]}]"
    )
    app(["label", "cu.xyz", "--teachers", "t.yaml", "--out", "l.xyz", "--workers", "1"], standalone_mode=False)
    small = [
        word
        for key, value in (
            ("cutoff", 4.2),
            ("descriptor.n_channels", 2),
            ("descriptor.l_max", 1),
            ("readout.hidden", "[4]"),
        )
        for word in ("--set", f"model.{key}={value}")
    ]
    delta = ["--set", "knowledge.strategy=delta", "--epochs", "30", *small]
    app(
        ["train", "l.xyz", "--out", "named.jaxff", *delta, "--set", "knowledge.teacher_file=t.yaml"],
        standalone_mode=False,
    )
    app(["train", "l.xyz", "--out", "bare.jaxff", *delta], standalone_mode=False)
    assert Potential.load("named.jaxff").provenance["delta"]["settings"]["pair_style"] == "eam"
    found = []
    for arguments in (["named.jaxff"], ["bare.jaxff", "--teachers", "t.yaml"]):
        app(["evaluate", arguments[0], "cu.xyz", "--json", "e.json", *arguments[1:]], standalone_mode=False)
        found.append(json.loads((tmp_path / "e.json").read_text()))
    frames = read("cu.xyz", ":")
    assert found[0]["energy_rmse_mev_per_atom"] < 4.2  # the teacher's own error, once aligned
    assert found[0]["force_rmse_ev_per_angstrom"] == pytest.approx(found[1]["force_rmse_ev_per_angstrom"])
    with pytest.raises(ConfigError, match="to be added to its teacher eam, whose settings it does not hold"):
        calculator_of("bare.jaxff")
    (tmp_path / "other.yaml").write_text("teachers: [{name: emt, ase: emt.EMT}]")
    with pytest.raises(ConfigError, match="other.yaml has no teacher eam"):
        calculator_of("bare.jaxff", teacher_file="other.yaml")
    atoms = frames[0].copy()
    atoms.calc = calculator_of("named.jaxff")
    assert np.isfinite(atoms.get_stress()).all()


def test_a_delta_model_never_runs_alone_unnoticed(tmp_path, capfd):
    """The calculator adds the teacher, so every property does; the contract says it; where the teacher is not known, or
    a part of it cannot be computed, that is refused."""
    from jaxff import JaxffCalculator
    from jaxff.properties.elastic import elastic_constants
    from jaxff.properties.elastic_autodiff import differentiable

    bare = make_potential(("Si",), architecture=SMALL)
    delta = dataclasses.replace(bare, provenance={"delta": {"teacher": "sw", "settings": TEACHER}})
    delta.save(tmp_path / "delta.jaxff")
    contract = Potential.load(tmp_path / "delta.jaxff").contract
    assert contract.teacher == {"teacher": "sw", "settings": TEACHER} and "teacher" in contract.needs
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=3)
    parts = {}
    for name, calculator in {
        "sum": JaxffCalculator(tmp_path / "delta.jaxff", "double"),
        "correction": JaxffCalculator(tmp_path / "delta.jaxff", "double", teacher=False),
        "teacher": parse_teacher(TEACHER).calculator(),
    }.items():
        crystal.calc = calculator
        parts[name] = crystal.get_potential_energy(), crystal.get_forces(), crystal.get_stress()
    for whole, correction, teacher in zip(*(parts[name] for name in ("sum", "correction", "teacher")), strict=True):
        np.testing.assert_allclose(whole, correction + teacher, atol=1e-9)
    assert abs(parts["teacher"][0]) > 10.0
    crystal.calc = JaxffCalculator(tmp_path / "delta.jaxff", "double")
    assert not differentiable(crystal.calc.potential)
    with pytest.raises(ConfigError, match="is a delta model, to be added to its teacher: use --method stress"):
        elastic_constants(crystal, method="autodiff", relax=False)
    app(["info", str(tmp_path / "delta.jaxff")], standalone_mode=False)
    assert "contract teacher teacher" in capfd.readouterr().out
    unknown = dataclasses.replace(bare, provenance={"delta": {"teacher": "sw"}})
    with pytest.raises(ConfigError, match="to be added to its teacher sw, whose settings it does not hold"):
        JaxffCalculator(unknown)
