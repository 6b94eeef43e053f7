"""Energy conservation in single precision: NVE of 1000 silicon atoms at 300 K, 1 fs, 10 ps.

    python benchmarks/nve_drift.py lammps_examples/Si.jaxff [--engine lammps|ase] [--precision single|double]
        [--repeat 5] [--picoseconds 10]

Prints the fitted slope of the total energy with its standard error (the aim: below 1 µeV/atom/ps), and the largest
change of the total energy from one step to the next, at steps that rebuilt the neighbour list and at all others (the
aim: no difference).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxff.demo.crystals import silicon
from jaxff.demo.dynamics import hot_crystal

EQUILIBRATION = 1000
SCRIPT = """\
units metal
atom_style atomic
read_data silicon.data
pair_style jaxff precision {precision}
pair_coeff * * {potential} Si
# A thin skin, so that the list is rebuilt often.
neighbor 0.3 bin
neigh_modify every 1 delay 0 check yes
timestep 0.001
fix 1 all nve
thermo 1
thermo_style custom step temp etotal nbuild
thermo_modify format float %.15g
run {equilibration}
run {steps}
"""


def in_lammps(atoms, potential: Path, precision: str, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperature, total energy (eV) and number of neighbour builds at every step."""
    from ase.io import write

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "silicon.data", atoms, format="lammps-data", velocities=True, masses=True, units="metal")
        settings = {
            "precision": precision,
            "potential": potential.resolve(),
            "equilibration": EQUILIBRATION,
            "steps": steps,
        }
        (folder / "in.nve").write_text(SCRIPT.format(**settings))
        command = [sys.executable, "-m", "jaxff.cli.app", "lmp", "-in", "in.nve", "-screen", "none"]
        subprocess.run(command, cwd=folder, check=True)
        log = (folder / "log.lammps").read_text().split("Step")[-1]
    rows = [line.split() for line in log.splitlines()[1:]]
    table = np.array([[float(x) for x in row] for row in rows[: steps + 1]])
    return table[:, 1], table[:, 2], table[:, 3]


def in_ase(atoms, potential: Path, precision: str, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same in ASE."""
    from ase import units
    from ase.md.verlet import VelocityVerlet

    from jaxff import JaxffCalculator

    atoms.calc = JaxffCalculator(potential, precision)
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    dynamics.run(EQUILIBRATION)
    rows = []
    dynamics.attach(
        lambda: rows.append((atoms.get_temperature(), atoms.get_total_energy(), atoms.calc.neighbor_list_builds))
    )
    dynamics.run(steps)
    return tuple(np.array(rows).T)


def slope_and_error(time_ps: np.ndarray, energy: np.ndarray, blocks: int = 10) -> tuple[float, float]:
    """Least-squares slope, and its standard error from the scatter of block means (steps are correlated)."""
    slope, offset = np.polyfit(time_ps, energy, 1)
    residual = energy - (slope * time_ps + offset)
    means = [part.mean() for part in np.array_split(residual, blocks)]
    centres = [part.mean() for part in np.array_split(time_ps, blocks)]
    return slope, np.std(means, ddof=2) / np.sqrt(np.sum((centres - np.mean(centres)) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", type=Path)
    parser.add_argument("--engine", choices=["lammps", "ase"], default="lammps")
    parser.add_argument("--precision", choices=["single", "double"], default="single")
    parser.add_argument("--repeat", type=int, default=5, help="conventional cells each way; 5 is 1000 atoms")
    parser.add_argument("--picoseconds", type=float, default=10.0)
    given = parser.parse_args()
    steps = round(1000 * given.picoseconds)
    atoms = hot_crystal(silicon(given.repeat), 300.0, seed=1)
    start = time.perf_counter()
    run = {"lammps": in_lammps, "ase": in_ase}[given.engine]
    temperature, energy, builds = run(atoms, given.potential, given.precision, steps)
    seconds = time.perf_counter() - start
    energy = 1e6 * energy / len(atoms)
    slope, error = slope_and_error(np.arange(len(energy)) / 1000, energy)
    change, rebuilt = np.abs(np.diff(energy)), np.diff(builds) > 0
    print(
        f"{len(atoms)} atoms, {given.picoseconds:g} ps in {given.engine}, {given.precision} precision, {seconds:.0f} s"
    )
    print(f"temperature                      {temperature.mean():9.1f} K")
    print(f"slope of the total energy        {slope:9.3f} ± {error:.3f} µeV/atom/ps")
    print(f"spread of the total energy       {energy.std():9.3f} µeV/atom")
    print(f"largest step, {rebuilt.sum():5d} with rebuild {change[rebuilt].max(initial=0.0):9.3f} µeV/atom")
    print(f"largest step, {(~rebuilt).sum():5d} without      {change[~rebuilt].max(initial=0.0):9.3f} µeV/atom")


if __name__ == "__main__":
    main()
