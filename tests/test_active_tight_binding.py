"""A real electronic-structure method, tight binding by tblite, as the labeller of `jaxff label` and `jaxff active`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk, molecule
from ase.io import read, write

from jax_models import Potential
from jaxff.active.folder import read_frames
from jaxff.knowledge.structure_families import Recipe, make_structures

tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed: pip install tblite")

DOCS = Path(__file__).parents[1] / "docs" / "active.md"
SMALL = {
    "training.epochs": 4, "model.cutoff": 3.5, "model.descriptor.l_max": 1, "model.descriptor.n_channels": 4,
    "model.descriptor.n_radial": 4, "training.heads": 2,
}  # fmt: skip


def example():
    """The run.yaml of the documentation that names tblite."""
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL) if "tblite.ase" in b]
    return yaml.safe_load(block)


def command(*words, folder):
    return subprocess.run(
        [sys.executable, "-m", "jaxff.cli.app", *words], cwd=folder, capture_output=True, text=True, timeout=1200
    )


@pytest.mark.slow
def test_label_keeps_what_converged_and_names_what_did_not(tmp_path):
    frames = list(make_structures([molecule("H2O")], ("strain", "rattle"), 12, 0, Recipe(rattle=0.25, strain=0.05)))
    write(tmp_path / "water.xyz", frames)
    # So few iterations that some of the structures do not converge.
    teacher = {"name": "xtb", "ase": "tblite.ase.TBLite", "settings": {"verbosity": 0, "max_iterations": 8}}
    (tmp_path / "teachers.yaml").write_text(yaml.safe_dump({"teachers": [teacher]}))
    done = command("label", "water.xyz", "--teachers", "teachers.yaml", "--out", "out.xyz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out.xyz", ":")
    failed = [atoms for atoms in found if "error_xtb" in atoms.info]
    assert 0 < len(failed) < len(found) == 24
    assert all("not converged in 8 cycles" in atoms.info["error_xtb"] for atoms in failed)
    assert "not converged" in done.stdout
    for atoms, frame in zip(found, frames, strict=True):
        if "error_xtb" not in atoms.info:
            frame.calc = tblite.TBLite(verbosity=0)
            assert atoms.info["energy_xtb"] == pytest.approx(frame.get_potential_energy(), abs=1e-4)
            np.testing.assert_allclose(atoms.arrays["forces_xtb"], frame.get_forces(), atol=1e-3)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs_from_a_molecule(tmp_path):
    run = example()
    run["labeller"]["settings"]["max_iterations"] = 8
    run["explore"][0] |= {"steps": 60, "interval": 10}
    run["explore"][1]["number"] = 4
    run |= {"goal": {"error": 0.01, "rounds": 2}, "select": {"per_round": 6}, "train": SMALL}
    write(tmp_path / "water.xyz", molecule("H2O"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    done = command("active", "run.yaml", folder=tmp_path)
    assert "2 rounds were not enough" in " ".join(done.stderr.split()), done.stderr + done.stdout
    folder = tmp_path / run["out"]
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert sum(record["labels"] for record in records) > 0
    for entry in [entry for record in records for entry in record["failed"]]:
        assert "not converged" in entry["error"]
    for atoms in read_frames(folder / "round-000" / "labelled.xyz"):
        assert not atoms.pbc.any()
        again = atoms.copy()
        again.calc = tblite.TBLite(verbosity=0)
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-3)
    assert set(Potential.load(folder / "model.jaxff").elements) == {"H", "O"}


@pytest.mark.slow
def test_a_crystal_has_stresses_too(tmp_path):
    write(tmp_path / "c.xyz", bulk("C", cubic=True))
    teacher = {"name": "xtb", "ase": "tblite.ase.TBLite", "settings": {"method": "GFN1-xTB", "verbosity": 0}}
    (tmp_path / "teachers.yaml").write_text(yaml.safe_dump({"teachers": [teacher]}))
    done = command("label", "c.xyz", "--teachers", "teachers.yaml", "--out", "out.xyz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found, crystal = read(tmp_path / "out.xyz"), bulk("C", cubic=True)
    energies = []
    for stretch in (-1e-3, 1e-3):
        strained = crystal.copy()
        strained.set_cell(crystal.cell * (1 + np.array([stretch, 0, 0])), scale_atoms=True)
        strained.calc = tblite.TBLite(method="GFN1-xTB", verbosity=0)
        energies.append(strained.get_potential_energy())
    stress = np.diff(energies)[0] / 2e-3 / crystal.get_volume()
    assert found.info["stress_xtb"][0] == pytest.approx(stress, rel=0.02)
