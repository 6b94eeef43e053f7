"""A long run of 216 atoms: constant pressure, atoms that come and go, changing density. Does memory or compilation
grow?

    python benchmarks/lammps_soak.py lammps_examples/Si.jaxff [--steps 200000]

Prints resident memory at the end of the first tenth and at the end (flat within 20 MB), how often the model was
compiled, the range of atom counts and densities, and the drift of energy in a tail at constant energy. Ends with
status 1 where memory or the number of compilations is too large.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SETUP = """
units metal
atom_modify map array
lattice diamond 5.43
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 28.0855
neighbor 1.0 bin
pair_style jaxff
pair_coeff * * {potential} Si
velocity all create 2400 4711 mom yes rot yes dist gaussian
timestep 0.001
thermo_style custom step temp pe etotal press density
thermo 100000
"""
CHUNK = 500
"""Steps between exchanges of atoms."""
MAX_GROWTH = 20.0
"""MB."""
MAX_COMPILATIONS = 40


def resident() -> float:
    """MB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def exchange(lmp, generator: np.random.Generator) -> None:
    """Remove and insert a few atoms, around 216 of them; then let the newcomers find room."""
    n = lmp.get_natoms()
    leaving, coming = generator.integers(0, 10, 2)
    leaving, coming = (leaving, 0) if n > 226 else (0, coming) if n < 206 else (leaving, coming)
    seeds = generator.integers(1, 10**6, 2)
    if leaving:
        lmp.command(f"delete_atoms random count {leaving} yes all NULL {seeds[0]}")
    if coming:
        lmp.command(f"create_atoms 1 random {coming} {seeds[1]} NULL overlap 1.9 maxtry 200")
    lmp.commands_list(["reset_atoms id", "fix settle all nve/limit 0.02", "run 20 post no", "unfix settle"])


def compilations(log: Path) -> int:
    return max((int(n) for n in re.findall(r"compiled (\d+) time", log.read_text())), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="a .jaxff file with silicon")
    parser.add_argument("--steps", type=int, default=200_000)
    options = parser.parse_args()
    potential = options.potential.resolve()

    from jaxff.lammps import start

    generator = np.random.default_rng(4711)
    begin = time.perf_counter()
    memory, atoms, densities = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.soak"
        lmp = start(["-screen", "none", "-log", str(log)])
        lmp.commands_string(SETUP.format(potential=potential))
        chunks = max(20, round(0.95 * options.steps / (CHUNK + 20)))
        for n in range(chunks):
            exchange(lmp, generator)
            pressure = 10000 * (1.0 + np.sin(2 * np.pi * n / 40))  # bar; a liquid under tension would boil
            hot = 1700 + 700 * np.cos(2 * np.pi * n / 100)
            lmp.commands_list(
                [f"fix 1 all npt temp {hot} {hot} 0.05 iso {pressure} {pressure} 0.5", f"run {CHUNK}", "unfix 1"]
            )
            memory.append(resident())
            atoms.append(lmp.get_natoms())
            densities.append(lmp.get_thermo("density"))
        lmp.commands_list(["velocity all scale 600", "fix 1 all nve", "run 500"])
        tail = max(1000, options.steps // 20)
        before = lmp.get_thermo("etotal")
        lmp.command(f"run {tail}")
        drift = (lmp.get_thermo("etotal") - before) / lmp.get_natoms() / (tail * 1e-3)
        compiled = compilations(log)
        lmp.close()

    warm, final = max(memory[: chunks // 10]), memory[-1]
    print(f"{chunks * (CHUNK + 20) + tail + 500} steps in {time.perf_counter() - begin:.0f} s")
    print(f"{min(atoms)} to {max(atoms)} atoms, {min(densities):.3f} to {max(densities):.3f} g/cm^3")
    print(f"memory {warm:.1f} MB after a tenth, {final:.1f} MB at the end: {final - warm:+.1f} MB")
    print(f"compiled {compiled} times")
    print(f"energy drift in {tail} steps of NVE: {1e6 * drift:+.2f} µeV/atom/ps")
    sys.exit(final - warm > MAX_GROWTH or compiled > MAX_COMPILATIONS)


if __name__ == "__main__":
    main()
