"""The same atoms in ASE and in LAMMPS: NVE molecular dynamics from the same positions and velocities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io import write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from jaxtyping import Float

from jax_models import StructureError

STEPS = 1000
INTERVAL = 10
TIMESTEP = 1.0
"""fs"""

INPUT = f"""\
# NVE of {{n_atoms}} silicon atoms, written by `jaxff demo`. Run it again with any of
#   jaxff lmp -in in.nve
#   lmp -in in.nve
#   mpirun -n 2 lmp -in in.nve
units           metal
atom_style      atomic
read_data       silicon.data

pair_style      jaxff precision double
pair_coeff      * * si.jaxff Si

timestep        {TIMESTEP / 1000}
fix             1 all nve
thermo          {INTERVAL}
thermo_style    custom step time temp pe etotal press
thermo_modify   format float %.15g
run             {STEPS}
"""


@dataclass(frozen=True)
class Trajectory:
    """Energies along a run, in eV per atom, at times in ps."""

    time: Float[np.ndarray, " T"]
    potential: Float[np.ndarray, " T"]
    total: Float[np.ndarray, " T"]


def hot_crystal(crystal: Atoms, temperature: float, seed: int) -> Atoms:
    """``crystal`` with velocities of twice ``temperature`` (K): half of it goes into the vibrations."""
    atoms = crystal.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=np.random.default_rng(seed))
    Stationary(atoms)
    return atoms


def run_in_ase(start: Atoms, calculator: Calculator) -> Trajectory:
    """Velocity Verlet from ``start``."""
    atoms = start.copy()
    atoms.calc = calculator
    potential, total = [], []

    def record() -> None:
        potential.append(atoms.get_potential_energy() / len(atoms))
        total.append(atoms.get_total_energy() / len(atoms))

    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)
    dynamics.attach(record, interval=INTERVAL)
    dynamics.run(STEPS)
    time = np.arange(len(total)) * INTERVAL * TIMESTEP / 1000
    return Trajectory(time, np.array(potential), np.array(total))


def write_lammps_input(start: Atoms, folder: Path) -> Path:
    """``in.nve`` and the ``silicon.data`` that it reads; returns the former."""
    write(folder / "silicon.data", start, format="lammps-data", velocities=True, masses=True, units="metal")
    script = folder / "in.nve"
    script.write_text(INPUT.format(n_atoms=len(start)))
    return script


def read_lammps_log(log: Path, n_atoms: int) -> Trajectory:
    """The thermodynamic table that ``in.nve`` leaves in ``log``.

    Raises:
        StructureError: there is no complete table in it.
    """
    rows: list[list[float]] = []
    inside = False
    for line in log.read_text().splitlines():
        fields = line.split()
        if fields[:1] == ["Step"]:
            inside = True
        elif fields[:2] == ["Loop", "time"]:
            table = np.array(rows)
            return Trajectory(table[:, 1], table[:, 3] / n_atoms, table[:, 4] / n_atoms)
        elif inside and len(fields) == 6 and fields[0].isdigit():
            rows.append([float(field) for field in fields])
    raise StructureError(f"{log} holds no finished run")
