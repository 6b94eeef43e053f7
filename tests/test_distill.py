"""`jaxff distill`: what is explored follows from the teacher, and student and teacher stand side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import kB
from typer.testing import CliRunner

from jax_models import ConfigError, Potential, StructureError
from jaxff import JaxffCalculator
from jaxff.active.settings import Active
from jaxff.cli.app import app
from jaxff.distill.comparison import property_rows, state_errors
from jaxff.distill.distillation import labeller_of
from jaxff.distill.material import survey
from jaxff.distill.plan import plan
from jaxff.distill.report import verdict
from jaxff.properties.radial_distribution import radial_distributions

SILICON = Path(__file__).resolve().parents[1] / "lammps_examples" / "Si.jaxff"


def test_a_teacher_tells_how_stiff_a_crystal_is_and_how_hot_it_melts():
    found = survey([bulk("Cu", cubic=True, a=3.5)], EMT())
    assert found.structures[0].cell.lengths() == pytest.approx([3.59] * 3, abs=0.02)
    assert found.bulk_modulus == pytest.approx(135, abs=10)  # GPa; EMT was made for 134
    assert 0.6 < found.melting / 1358 < 1.6
    assert found.timestep == 2.0
    # The same atoms as a compound would stand more than as an alloy: neighbours are unlike, or they are not.
    salt, alloy = (survey([bulk("CuAu", name, a=a)], EMT()) for name, a in (("rocksalt", 5.0), ("cesiumchloride", 3.0)))
    for material, lindemann in ((salt, 0.16), (alloy, 0.12)):
        distance = material.structures[0].repeat(2).get_all_distances(mic=True)
        nearest = np.min(distance[distance > 0])
        assert material.melting == pytest.approx(
            0.5 * material.stiffness * (lindemann * nearest) ** 2 / (3 * kB), rel=0.01
        )
    with pytest.raises(StructureError, match="periodic in three directions"):
        survey([molecule("H2O")], EMT())


def test_the_plan_is_a_run_of_jaxff_active():
    material = survey([bulk("Cu", cubic=True)], EMT())
    teacher = {"ase": "emt.EMT"}
    run = Active.model_validate(plan(material, teacher, "structures.xyz", "run"))
    assert {e.name for e in run.explore} >= {"strained", "crystal", "surface-100", "vacancy", "liquid", "liquid-free"}
    hot = next(e for e in run.explore if e.name == "liquid")
    assert hot.temperature[0] > hot.temperature[-1] > material.melting
    # Nine of ten errors below a quarter of the thermal force are a tenth of it as a root mean square.
    assert run.goal.error == pytest.approx(0.25 * material.force_scale(material.melting), rel=0.01)
    less = plan(material, teacher, "structures.xyz", "run", explore=["vacancy"], hottest=900.0)
    assert [e["name"] for e in less["explore"]] == ["vacancy"]
    with pytest.raises(ConfigError, match="there is no exploration plasma"):
        plan(material, teacher, "structures.xyz", "run", explore=["plasma"])


def test_student_and_teacher_are_compared():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    same = state_errors({"hot": [atoms]}, EMT(), EMT())["hot"]
    assert same["force_rmse_ev_a"] == 0
    assert same["force_rms_ev_a"] > 0.1
    theirs = {"volume": 12.0, "elastic": np.diag([100.0] * 6).tolist(), "bands": [[[1.0]]], "highest_frequency": 2.0}
    ours = {"volume": 12.6, "elastic": np.diag([90.0] * 6).tolist(), "bands": [[[1.2]]], "highest_frequency": 2.0}
    rows = {row["property"]: row["off_percent"] for row in property_rows("Cu", ours, theirs)}
    assert rows["volume, Å³/atom"] == pytest.approx(5)
    assert rows["C11, GPa"] == pytest.approx(-10)
    assert rows["phonons, RMS difference, THz"] == pytest.approx(10)


def test_the_verdict_names_the_worst_state_and_how_to_go_on():
    states = {"crystal": {"frames": 8, "force_error_part": 0.05}, "liquid": {"frames": 8, "force_error_part": 0.12}}
    states["surface"] = {"frames": 0, "failed": 8}
    missed = verdict({"states": states, "error_asked_for": 0.1, "goal_met": False})
    assert "MORE THAN ASKED FOR: in liquid 12.0 %" in missed and "--rounds" in missed
    met = verdict({"states": states, "error_asked_for": 0.2, "goal_met": True})
    assert met == "force errors are in every state at most 12.0 % of the RMS force (20 % asked for)"


def test_radial_distributions_see_images():
    small, large = bulk("NaCl", "rocksalt", a=5.64), bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 2
    one, many = radial_distributions([small]), radial_distributions([large])
    assert set(one) == {"Na-Na", "Na-Cl", "Cl-Cl"}
    for pair in one:
        np.testing.assert_allclose(one[pair], many[pair])


def test_several_teachers_give_their_mean(tmp_path):
    shifted = Potential.load(SILICON)
    shifted = Potential(
        shifted.contract, shifted.model, shifted.architecture, shifted.reference_energies + 1.0, {}, shifted.uncertainty
    )
    shifted.save(tmp_path / "other.jaxff")
    atoms = bulk("Si", cubic=True)
    atoms.calc = JaxffCalculator(SILICON)
    alone = atoms.get_potential_energy()
    atoms.calc = labeller_of([SILICON, tmp_path / "other.jaxff"]).calculator()
    assert atoms.get_potential_energy() == pytest.approx(alone + 4.0, abs=1e-4)


def distill(folder, *options):
    write(folder / "Cu.cif", bulk("Cu", cubic=True))
    (folder / "teacher.yaml").write_text(yaml.safe_dump({"teachers": [{"name": "emt", "ase": "emt.EMT"}]}))
    words = ["distill", "--teacher", folder / "teacher.yaml", "--structures", folder / "Cu.cif"]
    words += ["--out", folder / "fast.jaxff", *options]
    outcome = CliRunner().invoke(app, [str(word) for word in words])
    return outcome.exit_code, outcome.output, outcome.exception


@pytest.mark.slow
def test_from_a_crystal_file_to_a_potential(tmp_path):
    small = ("--visits", 1e5, "--rounds", 1, "--per-round", 6, "--explore", "strained,vacancy", "--workers", 1)
    code, output, error = distill(tmp_path, *small)
    assert code == 0, (output, error)
    comparison = json.loads((tmp_path / "fast.jaxff.distill" / "comparison.json").read_text())
    assert set(comparison["states"]) == {"strained", "vacancy"}
    assert comparison["states"]["vacancy"]["force_error_part"] < 1
    assert {row["property"] for row in comparison["properties"]} >= {"volume, Å³/atom", "C11, GPa", "vacancy, eV"}
    assert (tmp_path / "fast.jaxff.distill" / "comparison.png").stat().st_size > 0
    potential = Potential.load(tmp_path / "fast.jaxff")
    assert potential.elements == ("Cu",)
    assert potential.provenance["distilled"][0]["file"] == "teacher.yaml"


def test_what_makes_no_sense_is_refused_at_once(tmp_path):
    write(tmp_path / "Si.cif", bulk("Si", cubic=True))
    outcome = CliRunner().invoke(
        app,
        ["distill", "--teacher", str(tmp_path / "absent.jaxff"), "--structures", str(tmp_path / "Si.cif")]
        + ["--out", str(tmp_path / "fast.jaxff")],
    )
    assert outcome.exit_code == 1
    assert "cannot read" in str(outcome.exception)
    with pytest.raises(ConfigError, match="must all be"):
        labeller_of([SILICON, tmp_path / "teacher.yaml"])
