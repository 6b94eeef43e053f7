"""Error bars for people: in ASE's results, in a monitor of a run, and on the command line."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from conftest import make_potential
from training_data import emt_frames, emt_structures
from typer.testing import CliRunner
from uncertain_potentials import ACE

from jax_models import ConfigError, Potential
from jax_models.training.settings import Settings
from jax_models.training.uncertainty import with_uncertainty
from jaxff import ErrorMonitor, JaxffCalculator
from jaxff.cli.app import app
from jaxff.evaluation import evaluate, labels_of
from jaxff.monitor import ExtrapolationError
from jaxff.plots.figures import parity

NAMES = {"energy_std": (), "forces_std": (8, 3), "stress_std": (6,)}
ALWAYS = {"extrapolation_grade": (8,), "forces_expected_error": (8,)}
SMALL = [
    "--set", "model.cutoff=4.2", "--set", "model.descriptor.n_channels=4", "--set", "model.descriptor.n_radial=4",
    "--set", "model.descriptor.l_max=1", "--set", "model.readout.hidden=[8]",
]  # fmt: skip


@pytest.fixture(scope="module")
def potential():
    structures = emt_structures(12)
    plain = make_potential(("Cu", "Au"), 4.2, architecture=ACE)
    return with_uncertainty(plain, structures[:9], structures[9:], Settings(heads=3))


@pytest.fixture
def crystal():
    atoms = bulk("Cu", a=3.8, cubic=True) * (2, 1, 1)
    atoms.symbols[3] = "Au"
    atoms.rattle(0.1, seed=1)
    return atoms


def test_results_have_ases_names_and_shapes(potential, crystal):
    crystal.calc = JaxffCalculator(potential, precision="double")
    crystal.get_forces()
    assert {name: np.shape(crystal.calc.results[name]) for name in ALWAYS} == ALWAYS
    assert not set(NAMES) & set(crystal.calc.results), "what takes a gradient for each member is for those who ask"
    found = {name: crystal.calc.get_property(name, crystal) for name in NAMES}
    assert {name: np.shape(value) for name, value in found.items()} == NAMES
    assert set(NAMES) | set(ALWAYS) <= set(crystal.calc.implemented_properties)
    reference = potential.evaluate(
        crystal.positions, crystal.cell.array, True, list(crystal.symbols), outputs=("energy_std", "virial_std")
    )
    assert found["energy_std"] == pytest.approx(reference["energy_std"])
    v = reference["virial_std"] / crystal.get_volume()
    np.testing.assert_allclose(found["stress_std"], [v[0, 0], v[1, 1], v[2, 2], v[1, 2], v[0, 2], v[0, 1]], rtol=1e-12)
    crystal.positions[0, 0] += 0.3
    assert crystal.calc.get_property("extrapolation_grade", crystal)[0] > 0
    assert "forces_std" not in crystal.calc.results, "of the old positions"


def test_a_molecule_has_no_stress_std(potential):
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    pair.calc = JaxffCalculator(potential)
    assert pair.calc.get_property("forces_std", pair).shape == (2, 3)
    with pytest.raises(PropertyNotImplementedError):
        pair.calc.get_property("stress_std", pair)


def test_a_potential_that_knows_nothing_says_so(crystal):
    crystal.calc = JaxffCalculator(make_potential(("Cu", "Au"), 4.2, architecture=ACE))
    crystal.get_forces()
    assert not set(NAMES | ALWAYS) & set(crystal.calc.results)
    for name in NAMES | ALWAYS:
        with pytest.raises(PropertyNotImplementedError):
            crystal.calc.get_property(name, crystal)
    with pytest.raises(ConfigError, match="knows nothing of its errors"):
        ErrorMonitor(crystal, stop_above=1.0)


def test_pickles_and_copies_know_their_errors(potential, crystal):
    calculator = JaxffCalculator(potential, precision="double")
    expected = calculator.get_property("forces_std", crystal)
    again = pickle.loads(pickle.dumps(calculator))
    np.testing.assert_array_equal(again.get_property("forces_std", crystal.copy()), expected)


def test_a_delta_model_tells_the_errors_of_what_it_learned(potential, crystal):
    """The teacher is taken as it is: it adds to the force, and not to what is known of the error."""
    teacher = {"name": "emt", "ase": "emt.EMT"}
    delta = dataclasses.replace(
        potential, provenance={**potential.provenance, "delta": {"teacher": "emt", "settings": teacher}}
    )
    whole, part = JaxffCalculator(delta, "double"), JaxffCalculator(delta, "double", teacher=False)
    for name in (*NAMES, *ALWAYS):
        np.testing.assert_allclose(whole.get_property(name, crystal), part.get_property(name, crystal), rtol=1e-12)
    forces = part.get_property("forces", crystal) + EMT().get_property("forces", crystal)
    np.testing.assert_allclose(whole.get_property("forces", crystal), forces, atol=1e-10)


def hot(potential, atoms):
    """A run that leaves what it began in."""
    atoms.calc = JaxffCalculator(potential)
    atoms.set_momenta(np.random.default_rng(0).normal(scale=60.0 * units.fs * 20, size=(len(atoms), 3)))
    return VelocityVerlet(atoms, 1.0 * units.fs)


@pytest.mark.parametrize("grade", [False, True])
def test_the_monitor_collects_and_stops(potential, crystal, tmp_path, grade):
    dynamics = hot(potential, crystal)
    name = "extrapolation_grade" if grade else "forces_expected_error"
    first = crystal.calc.get_property(name, crystal).max()
    seen = []
    dynamics.attach(lambda: seen.append(crystal.calc.results[name].max()))
    monitor = ErrorMonitor(crystal, 1.02 * first, 1.1 * first, tmp_path / "unknown.xyz", grade)
    dynamics.attach(monitor)
    with pytest.raises(ExtrapolationError, match=f"{name} of atom . is .*, above"):
        dynamics.run(300)
    assert seen[-1] > 1.1 * first >= max(seen[:-1])
    assert monitor.highest == seen[-1]
    above = [value for value in seen if value > 1.02 * first]
    assert len(monitor.collected) == len(above) > 0
    kept = read(tmp_path / "unknown.xyz", ":")
    assert len(kept) == len(above)
    np.testing.assert_allclose([atoms.arrays[name].max() for atoms in kept], above, rtol=1e-6)
    np.testing.assert_allclose(kept[-1].get_forces(), crystal.get_forces(), atol=1e-6)


def test_what_stops_is_collected_whatever_else_is(potential, crystal):
    crystal.calc = JaxffCalculator(potential)
    monitor = ErrorMonitor(crystal, collect_above=1e9, stop_above=1e-9)
    with pytest.raises(ExtrapolationError):
        monitor()
    assert len(monitor.collected) == 1
    with pytest.raises(ConfigError, match="collect_above, stop_above or both"):
        ErrorMonitor(crystal)


def test_evaluate_says_how_often_errors_were_as_expected(potential):
    labelled = [labels_of(atoms, f"frame {n}") for n, atoms in enumerate(emt_frames(8, seed=2))]
    calculator = JaxffCalculator(potential)
    found = evaluate(labelled, calculator)
    inside, expected = [], []
    for one in labelled:
        atoms = one.atoms.copy()
        atoms.calc = calculator
        error = np.linalg.norm(atoms.get_forces() - one.forces, axis=1)
        expected.append(calculator.results["forces_expected_error"])
        inside.append(error <= expected[-1])
    errors = found.to_dict()
    assert errors["coverage"] == np.mean(inside)
    assert errors["expected_force_error_ev_per_angstrom"] == pytest.approx(np.mean(expected), rel=1e-6)
    assert set(errors["config_type"]) == {"rattled", "strained"}
    mean = np.mean([group["coverage"] for group in errors["config_type"].values()])
    assert mean == pytest.approx(errors["coverage"], abs=0.02)
    figure = parity(found)
    titles = [axes.get_title() for axes in figure.axes]
    assert f"coverage {100 * errors['coverage']:.0f} %" in titles
    plain = evaluate(labelled[:1], JaxffCalculator(make_potential(("Cu", "Au"), 4.2, architecture=ACE)))
    assert "coverage" not in plain.to_dict()
    assert len(parity(plain).axes) == len(figure.axes) - 1


def invoke(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return " ".join(done.output.split())


@pytest.mark.parametrize("heads", [None, 0])
def test_train_evaluate_and_info(tmp_path, heads):
    """What the default gives, and what training.heads=0 leaves out."""
    write(tmp_path / "data.xyz", emt_frames(16))
    more = [] if heads is None else ["--set", f"training.heads={heads}"]
    out = tmp_path / "cu.jaxff"
    told = invoke("train", tmp_path / "data.xyz", "--out", out, "--epochs", 2, *SMALL, *more)
    invoke("evaluate", out, tmp_path / "data.xyz", "--json", tmp_path / "e.json", "--plot", tmp_path / "e.png")
    errors = json.loads((tmp_path / "e.json").read_text())
    invoke("info", out, "--json", tmp_path / "i.json")
    provenance = json.loads((tmp_path / "i.json").read_text())["provenance"]
    assert ("coverage" in errors) is ("uncertainty" in provenance) is (heads is None)
    assert ("expected force errors hold for" in told) is (heads is None)
    assert Potential.load(out).contract.uncertainty is (heads is None)
    if heads is None:
        assert provenance["uncertainty"]["members"] == 8
        assert provenance["uncertainty"]["coverage"] >= 0.9
