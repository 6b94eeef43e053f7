"""Elastic constants, a vacancy and its hop by LAMMPS's scripts are those that jaxff's commands give."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import BIN, neb_table, run_file
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import Potential

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).resolve().parents[1] / "lammps_examples"


@pytest.fixture(scope="module", params=["a function", "the examples' potential"])
def folder(request, tmp_path_factory):
    folder = shutil.copytree(EXAMPLES, tmp_path_factory.mktemp("properties") / "lammps_examples")
    if request.param == "a function":
        Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(folder / "Si.jaxff")
    elif not (folder / "Si.jaxff").exists():
        pytest.skip("lammps_examples/Si.jaxff is not there")
    return folder


def jaxff(*arguments: str, folder: Path) -> dict:
    subprocess.run([BIN / "jaxff", *arguments, "--json", "result.json"], cwd=folder, check=True, capture_output=True)
    return json.loads((folder / "result.json").read_text())


def test_elastic_constants(folder):
    from ase.build import bulk
    from ase.io import write

    write(folder / "silicon.xyz", bulk("Si", a=5.43, cubic=True))
    expected = np.array(jaxff("elastic", "Si.jaxff", "silicon.xyz", folder=folder)["elastic_constants_gpa"])
    output = run_file("in.elastic", folder).output
    rows = [line.split()[1:] for line in output.splitlines() if re.match("C( +-?[0-9.]+){6}$", line)]
    assert expected[0, 0] > 100
    np.testing.assert_allclose(np.array(rows, float), expected, atol=0.1)


@pytest.mark.parametrize("folder", ["a function"], indirect=True)
def test_barrier(folder):
    """Not with the examples' potential: for it the atom half-way is no higher than the ends, and there is nothing to
    climb."""
    from ase.io import write

    from jaxff.demo.crystals import vacancy_hop

    for name, end in zip(("initial", "final"), vacancy_hop(), strict=True):
        write(folder / f"{name}.xyz", end)
    expected = jaxff("barrier", "Si.jaxff", "initial.xyz", "final.xyz", "--images", "1", folder=folder)
    found = neb_table(run_file("in.neb", folder, ranks=3, options=["-partition", "3x1", "-var", "size", "2"]).output)
    assert expected["barrier_ev"] > 0.1
    assert found["EBF"] == pytest.approx(expected["barrier_ev"], abs=1e-3)
    assert found["EBR"] == pytest.approx(expected["reverse_barrier_ev"], abs=1e-3)


@pytest.mark.parametrize("folder", ["a function"], indirect=True)
def test_vacancy(folder):
    from ase.build import bulk
    from ase.io import write

    write(folder / "silicon.xyz", bulk("Si", a=5.43, cubic=True))
    expected = jaxff("vacancy", "Si.jaxff", "silicon.xyz", "--repeat", "2", "2", "2", "--images", "1", folder=folder)
    output = run_file("in.vacancy", folder).output
    found = float(re.search(r"formation energy: (\S+) eV", output).group(1))
    assert found == pytest.approx(expected["formation_energy_ev"], abs=2e-3)
    assert expected["saddle_negative_modes"] == 1
    hop = neb_table(run_file("in.neb", folder, ranks=3, options=["-partition", "3x1", "-var", "size", "2"]).output)
    assert hop["EBF"] == pytest.approx(expected["migration_barrier_ev"], abs=2e-3)
