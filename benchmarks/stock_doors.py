"""What pair_style python costs in a stock LAMMPS, beside plain evaluation: µs an atom and step, ms a step of 64 atoms.

Runs Debian's /usr/bin/lmp on one rank, then the same potential through `Evaluator` on the same environments.

    python benchmarks/stock_doors.py Si.jaxff
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

LMP = "/usr/bin/lmp"
SCRIPT = """
units metal
lattice diamond 5.43
region box block 0 {n} 0 {n} 0 {n}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
python load input 2 SELF {potential} format ps here "from jaxff.lammps.pair_python import load"
python load invoke
pair_style python ${{jaxff_cutoff}}
pair_coeff * * jaxff.lammps.pair_python.ManyBody Si
neighbor 1.0 bin
velocity all create 600 4711
fix 1 all nve
timestep 0.001
thermo {steps}
run 20
run {steps}
"""


def through_lammps(potential: Path, n: int, steps: int) -> float:
    """Seconds a step, from LAMMPS's own clock."""
    import jaxff

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(m.__file__).parents[1]) for m in (jaxff, __import__("jax_models"), np)])
    }
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "in.speed"
        script.write_text(SCRIPT.format(n=n, steps=steps, potential=potential.resolve()))
        done = subprocess.run(
            [LMP, "-in", str(script), "-log", "none"], env=environment, capture_output=True, text=True, check=False
        )
    times = re.findall(r"Loop time of (\S+) on", done.stdout)
    if len(times) < 2:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-1000:])
    return float(times[-1]) / steps


def plain(potential: Path, n: int, steps: int) -> float:
    """Seconds for energies and gradients of the same number of environments, without neighbours, gather and forces."""
    from ase.build import bulk

    from jax_models import Potential
    from jax_models.neighborhood import neighborhood_of
    from jax_models.systems.evaluator import BlockSize, Evaluator
    from jaxff.runtime import configure

    configure(threads=1, asynchronous=False)
    loaded = Potential.load(potential)
    atoms = bulk("Si", cubic=True) * (n, n, n)
    atoms.rattle(0.1)
    nb = neighborhood_of(
        atoms.positions, atoms.cell.array, True, loaded.species_of(list(atoms.symbols)), loaded.cutoff, np.float32
    )
    evaluator = Evaluator(loaded)
    size = BlockSize(evaluator)(len(atoms))
    workspace = evaluator.new_workspace(size, nb.mask.shape[1])
    rows, width = min(size, len(atoms)), nb.mask.shape[1]
    workspace.vectors[:rows, :width], workspace.mask[:rows, :width] = nb.vectors[:rows], nb.mask[:rows]
    blocks, times = -(-len(atoms) // size), []
    for _ in range(steps):
        start = time.perf_counter()
        for _ in range(blocks):
            evaluator.run(workspace)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{'atoms':>6} {'pair_style python':>22} {'plain evaluation':>20}")
    for n in (2, 6):
        atoms = 8 * n**3
        door, alone = (
            through_lammps(arguments.potential, n, arguments.steps),
            plain(arguments.potential, n, arguments.steps),
        )
        print(
            f"{atoms:6d} {door * 1e3:8.2f} ms {door / atoms * 1e6:6.2f} µs/atom {alone * 1e3:6.2f} ms "
            f"{alone / atoms * 1e6:6.2f} µs/atom"
        )


if __name__ == "__main__":
    main()
