"""Runs LAMMPS in a process of its own, as users do, and reads back what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

BIN = Path(sys.prefix) / "bin"
BAR = 1.6021765e6
"""LAMMPS's eV/Å^3 in bar (units metal)."""

EVALUATE = """
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
compute stresses all stress/atom NULL virial
compute centroid all centroid/stress/atom NULL virial
compute virial all pressure NULL virial
compute sum all reduce sum c_energies c_centroid[*]
variable fields string "id fx fy fz c_energies c_stresses[*] c_centroid[*]"
thermo_style custom step pe c_virial[*] c_sum[*]
run 0
write_dump all custom {name}.dump ${{fields}} modify sort id format float %.17g
print '{{"energy": $(pe:%.17g), "pressure": [$(c_virial[1]:%.17g), $(c_virial[2]:%.17g), $(c_virial[3]:%.17g), &
$(c_virial[4]:%.17g), $(c_virial[5]:%.17g), $(c_virial[6]:%.17g)]}}' file {name}.json
"""


@dataclass
class Outcome:
    status: int
    output: str

    def value(self, column: str) -> np.ndarray:
        """A column of the thermodynamic output, all runs in a row."""
        values, names = [], None
        for line in self.output.splitlines():
            words = line.split()
            if words[:1] == ["Step"]:
                names = words
            elif line.startswith("Loop time"):
                names = None
            elif names and len(words) == len(names):
                values.append(float(words[names.index(column)]))
        return np.array(values)


def run_lammps(
    script: str, folder: Path, ranks: int = 1, command: str = "lmp", options=(), status: int | None = 0
) -> Outcome:
    """Run ``script`` with the environment's own ``lmp`` (or ``jaxff``, for ``jaxff lmp``) and ``mpirun``."""
    (folder / "in.script").write_text(script)
    return run_file("in.script", folder, ranks, command, options, status)


def run_file(
    name: str, folder: Path, ranks: int = 1, command: str = "lmp", options=(), status: int | None = 0
) -> Outcome:
    from jaxff.lammps.entry import find_libpython, find_plugin

    if find_plugin() is None:
        pytest.skip("jaxffplugin.so is not installed: pip install .")
    if command == "lmp" and find_libpython() is None:
        command = "jaxff"  # nothing to embed: the other way in runs the same code
    program = [str(BIN / "jaxff"), "lmp"] if command == "jaxff" else [str(BIN / "lmp")]
    launcher = [str(BIN / "mpirun"), "-n", str(ranks)] if ranks > 1 else []
    environment = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", OMP_NUM_THREADS="1", JAX_PLATFORMS="cpu")
    done = subprocess.run(
        [*launcher, *program, "-in", name, "-log", "none", *options],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    if status is not None:
        assert done.returncode == status, done.stdout
    return Outcome(done.returncode, done.stdout)


def run_in_process(script: str, folder: Path) -> None:
    """Run ``script`` inside this Python: nothing has to start, and a failure is an exception."""
    from jaxff.lammps import start
    from jaxff.lammps.entry import find_plugin

    if find_plugin() is None:
        pytest.skip("jaxffplugin.so is not installed: pip install .")
    (folder / "in.script").write_text(script)
    here = Path.cwd()
    os.chdir(folder)
    lmp = start()
    try:
        lmp.file("in.script")
    finally:
        lmp.close()
        os.chdir(here)


def neb_table(output: str) -> dict[str, float]:
    """The last row of the table that ``neb`` prints, by the names of its columns."""
    lines = [line.split() for line in output.splitlines()]
    names = next(words for words in lines if words[:2] == ["Step", "MaxReplicaForce"])
    row = [words for words in lines if len(words) == len(names) and words[0].isdigit()][-1]
    return dict(zip(names, map(float, row), strict=True))


def write_data(path: Path, positions, cell, types, n_types: int) -> None:
    """A data file of a lower-triangular ``cell``, with every digit."""
    cell = np.asarray(cell, float)
    assert np.allclose(cell, np.tril(cell))
    lines = ["jaxff test", "", f"{len(positions)} atoms", f"{n_types} atom types", ""]
    lines += [f"0 {cell[a, a]:.17g} {axis}lo {axis}hi" for a, axis in enumerate("xyz")]
    if not np.allclose(cell, np.diag(np.diag(cell))):
        lines.append(f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g} xy xz yz")
    lines += ["", "Atoms # atomic", ""]
    lines += [
        f"{n} {t} {x:.17g} {y:.17g} {z:.17g}" for n, (t, (x, y, z)) in enumerate(zip(types, positions, strict=True), 1)
    ]
    path.write_text("\n".join(lines) + "\n")


def read_evaluation(folder: Path, name: str) -> dict[str, np.ndarray]:
    """What one EVALUATE section left behind; virials are dE/dstrain (eV), as Potential.evaluate gives them."""
    result = {key: np.array(value) for key, value in json.loads((folder / f"{name}.json").read_text()).items()}
    rows = np.loadtxt(folder / f"{name}.dump", skiprows=9, ndmin=2)
    xx, yy, zz, xy, xz, yz = result["pressure"]
    result["pressure"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    result["forces"] = rows[:, 1:4]
    result["energies"] = rows[:, 4]
    result["virials"] = rows[:, 5:11] / BAR  # LAMMPS's stress/atom is -(pressure x volume), the sign of dE/dstrain
    result["centroid_virials"] = rows[:, 11:20] / BAR
    return result
