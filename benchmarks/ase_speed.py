"""Time of a molecular dynamics step in ASE: energy and forces after every atom has moved a little.

    python benchmarks/ase_speed.py lammps_examples/Si.jaxff [--beside /other/venv/bin/python] [--atoms 8 64 1000]

With --beside, another environment's jaxff is timed in turn with this one, and the ratio of the medians is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

ROUNDS = 5


def measure(potential: str, sizes: list[int]) -> dict[str, float]:
    """Milliseconds a step, the median of many, for crystals of silicon of about these sizes."""
    import numpy as np
    from ase.build import bulk, make_supercell
    from ase.build.supercells import find_optimal_cell_shape

    from jaxff import JaxffCalculator
    from jaxff.runtime import configure

    configure(threads=1, platforms="cpu")
    found = {}
    for size in sizes:
        cubic = bulk("Si", cubic=True)
        shape = find_optimal_cell_shape(cubic.cell, max(round(size / 8), 1), "sc")
        atoms = make_supercell(cubic, shape)
        atoms.calc = JaxffCalculator(potential)
        generator, start, times = np.random.default_rng(0), atoms.positions.copy(), []
        for step in range(60 if size > 200 else 400):
            atoms.positions = start + generator.normal(scale=0.02, size=start.shape)
            begin = time.perf_counter()
            atoms.get_forces()
            atoms.get_potential_energy()
            if step >= 20:
                times.append(time.perf_counter() - begin)
        found[str(len(atoms))] = 1e3 * statistics.median(times)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential")
    parser.add_argument("--atoms", type=int, nargs="+", default=[8, 64, 1000])
    parser.add_argument("--beside", metavar="PYTHON")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(arguments.potential, arguments.atoms)))
        return
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for python in filter(None, (sys.executable, arguments.beside)):
            command = [python, __file__, arguments.potential, "--once", "--atoms", *map(str, arguments.atoms)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.setdefault(python, []).append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        python: {size: statistics.median(run[size] for run in runs) for size in runs[0]}
        for python, runs in results.items()
    }
    here = medians[sys.executable]
    for size, value in here.items():
        line = f"{size:>6s} atoms {value:8.3f} ms/step"
        if arguments.beside:
            other = medians[arguments.beside][size]
            line += f"   beside {other:8.3f} ms/step   ratio {value / other:.3f}"
        print(line)


if __name__ == "__main__":
    main()
