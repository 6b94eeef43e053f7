"""Every input script in lammps_examples runs as its first lines say, shortened by its own variables."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import run_file

EXAMPLES = Path(__file__).resolve().parents[1] / "lammps_examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not (EXAMPLES / "Si.jaxff").exists():
        pytest.skip("lammps_examples/Si.jaxff is not there")
    return shutil.copytree(EXAMPLES, tmp_path_factory.mktemp("examples") / "lammps_examples")


ELSEWHERE = {"in.mliap"}
"""Needs an ML-IAP with Python, which no installable LAMMPS has; tests/test_mliap.py stands in for it."""


def test_all_examples_are_tested():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("in.*") if path.name not in tests and path.name not in ELSEWHERE] == []


@pytest.mark.parametrize("command", ["lmp", "jaxff"])
def test_nve_conserves_energy(folder, command):
    outcome = run_file("in.nve", folder, command=command, options=["-var", "size", "2", "-var", "steps", "200"])
    energy = outcome.value("TotEng")
    assert len(energy) == 3
    assert np.ptp(energy) / 64 < 1e-4


def test_npt_melt_compiles_a_handful_of_times(folder):
    options = ["-var", "size", "2", "-var", "steps", "1000", "-var", "hot", "4000"]
    outcome = run_file("in.npt_melt", folder, options=options)
    compiled = int(re.search(r"compiled (\d+) time", outcome.output).group(1))
    assert compiled <= 10
    assert np.isfinite(outcome.value("Press")).all()


def test_minimize_finds_the_vacancy(folder):
    outcome = run_file("in.minimize", folder, options=["-var", "size", "2"])
    formation, lattice = map(float, re.search(r"energy: (\S+) eV, lattice constant (\S+) A", outcome.output).groups())
    assert 2.0 < formation < 5.0  # DFT: 3.6 eV
    assert 5.35 < lattice < 5.55
    assert outcome.value("Fmax")[-1] < 2e-3


def test_mpi_gives_the_energies_of_one_rank(folder):
    options = ["-var", "size", "3", "-var", "steps", "100"]
    one, two = (run_file("in.mpi", folder, ranks=ranks, options=options) for ranks in (1, 2))
    np.testing.assert_allclose(two.value("TotEng"), one.value("TotEng"), rtol=1e-6)


def test_a_run_ends_where_errors_grow_too_large(folder):
    outcome = run_file("in.errors", folder, options=["-var", "size", "2", "-var", "limit", "0.3"])
    step, error = re.search(r"stop met on step (\d+) with value (\S+)", outcome.output).groups()
    assert 0 < int(step) < 2000
    assert outcome.value("c_worst[1]")[0] < 0.3 < float(error)
    assert (folder / "errors.out").stat().st_size > 0
    assert "ITEM: ATOMS id type x y z f_u[1] f_u[2]" in (folder / "unsure.dump").read_text()


def test_green_kubo_integrates_the_heat_flux(folder):
    outcome = run_file("in.green_kubo", folder, options=["-var", "steps", "400", "-var", "samples", "20"])
    conductivity = float(re.search(r"conductivity: (\S+) W", outcome.output).group(1))
    correlations = np.loadtxt(folder / "flux.dat", skiprows=4, max_rows=20)
    assert np.isfinite(conductivity)
    assert (correlations[0, 3:] > 0).all()
