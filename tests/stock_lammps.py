"""Debian's LAMMPS, whose Python runs jaxff, and the potentials it is tested with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_potential
from potentials_from_functions import (
    SW_A,
    SW_BIG_A,
    SW_BIG_B,
    SW_COS,
    SW_CUTOFF,
    SW_EPSILON,
    SW_GAMMA,
    SW_LAMBDA,
    SW_P,
    SW_SIGMA,
    lennard_jones,
    stillinger_weber,
)

import jax_models
import jaxff
from jax_models import Potential

LMP, MPIRUN = Path("/usr/bin/lmp"), Path("/usr/bin/mpirun.openmpi")
EXAMPLES = Path(__file__).resolve().parents[1] / "lammps_examples"
MANY_BODY = "jaxff.lammps.pair_python.ManyBody"
PAIRWISE = "jaxff.lammps.pair_python.Pairwise"


@pytest.fixture(scope="session")
def stock_lammps(tmp_path_factory):
    """A function that runs an input script in Debian's LAMMPS and returns the finished process."""
    if not LMP.exists():
        pytest.skip("Debian's lammps package is not installed (apt-get install lammps openmpi-bin)")
    paths = dict.fromkeys(str(Path(module.__file__).resolve().parents[1]) for module in (jaxff, jax_models, np))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMPI_MCA_btl_base_warn_component_unused": "0"}
    for name in [n for n in environment if n.startswith(("OMPI_COMM", "PMI", "MPI_LOCAL"))]:
        del environment[name]

    def run(
        script: str, folder: Path, ranks: int = 1, check: bool = True, arguments=(), timeout=180
    ) -> subprocess.CompletedProcess:
        (folder / "in.test").write_text(script)
        command = [str(LMP), "-in", "in.test", "-log", "log.test", *arguments]
        if ranks > 1:
            if not MPIRUN.exists():
                pytest.skip("Debian's Open MPI is not installed (apt-get install openmpi-bin)")
            command = [str(MPIRUN), "--allow-run-as-root", "--oversubscribe", "-n", str(ranks), *command]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    folder = tmp_path_factory.mktemp("version")
    version = run(
        'python v input 0 here "def v(): import sys; print(sys.version_info[:2])"\npython v invoke\n',
        folder,
        check=False,
    )
    if str(sys.version_info[:2]) not in version.stdout:
        pytest.skip(f"Debian's lammps embeds another Python than {sys.version_info[:2]}: {version.stdout[-300:]}")
    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The potentials of these tests, by name."""
    folder = tmp_path_factory.mktemp("files")
    pair_terms = {
        "descriptor": {"name": "ace", "n_channels": 4, "n_radial": 6, "body_order": 2},
        "readout": {"name": "linear"},
        "priors": [{"name": "zbl"}],
    }
    potentials = {
        "silicon": make_potential(),
        "silica": make_potential(("Si", "O")),
        "pairs": make_potential(("Si", "O"), architecture=pair_terms),
        "lj": Potential.from_function(lennard_jones, ["Ar"], cutoff=8.5),
        "sw": Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF),
    }
    for name, potential in potentials.items():
        potential.save(folder / f"{name}.jaxff")
    numbers = [SW_EPSILON, SW_SIGMA, SW_A, SW_LAMBDA, SW_GAMMA, SW_COS, SW_BIG_A, SW_BIG_B, SW_P, 0, 0]
    (folder / "Si.sw").write_text("Si Si Si " + " ".join(map(repr, numbers)) + "\n")
    return folder


def load(path, options="double"):
    """The two set-up lines of an input script."""
    return f"""
python load input 3 SELF {path} {options} format pss here "from jaxff.lammps.pair_python import load"
python load invoke
"""
