"""Time per atom and step of imported universal potentials in ASE, beside the codes that they come from.

    python benchmarks/universal_speed.py --reference-python /path/to/venv/bin/python --nequix nequix-oam-1-pft.nqx \
        --sevennet checkpoint_sevennet_0.pth

The reference's Python has nequix (evaluated in JAX, without kernels) and sevenn (PyTorch, without accelerators).
Silicon is rattled, and moves a little before each step; the first steps, which compile, do not count. Single precision.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

SIZES = {64: (2, 2, 2), 1000: (5, 5, 5)}
SKIN = 0.5
"""Å. Only our calculator keeps its neighbour list for several steps; the others build one each time."""


def seconds_per_step(
    calculator: Any, atoms: Atoms, steps: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The least of ``steps`` steps after two that compile."""
    atoms.calc = calculator
    generator = np.random.default_rng(0)
    found = []
    for _ in range(steps + 2):
        atoms.positions += generator.normal(scale=1e-3, size=atoms.positions.shape)
        start = clock()
        atoms.get_forces()
        found.append(clock() - start)
    return min(found[2:])


def silicon(n: int) -> Atoms:
    atoms = bulk("Si", cubic=True) * SIZES[n]
    atoms.rattle(0.05, seed=1)
    return atoms


def calculator_of(code: str, path: str) -> Any:
    if code == "jaxff":
        from jax_models.imports import potential_from_file
        from jaxff import JaxffCalculator

        return JaxffCalculator(potential_from_file(path), skin=SKIN)
    if code == "nequix":
        from nequix.calculator import NequixCalculator

        return NequixCalculator(model_path=path, backend="jax", use_kernel=False)
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(path, device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", help="a Python with nequix and sevenn; none: only ours")
    parser.add_argument("--nequix", help="a .nqx file")
    parser.add_argument("--sevennet", help="a SevenNet checkpoint")
    parser.add_argument("--atoms", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor time: for a machine shared with others"
    )
    parser.add_argument("--code", choices=("jaxff", "nequix", "sevenn"), help="measure this one in this process")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.code:
        path = arguments.nequix or arguments.sevennet
        calculator = calculator_of(arguments.code, path)
        for n in arguments.atoms:
            seconds = seconds_per_step(calculator, silicon(n), arguments.steps, clock)
            print(f"| {arguments.code} | {os.path.basename(path)} | {n} | {1e3 * seconds / n:.2f} |", flush=True)
        return
    print("| code | potential | Si atoms | ms/atom/step |\n|---|---|---|---|", flush=True)
    options = ["--steps", str(arguments.steps), "--atoms", *map(str, arguments.atoms)]
    options += ["--cpu-time"] if arguments.cpu_time else []
    for option, path, code in (
        ("--nequix", arguments.nequix, "nequix"),
        ("--sevennet", arguments.sevennet, "sevenn"),
    ):
        runs = [(sys.executable, "jaxff"), (arguments.reference_python, code)]
        for python, name in runs if path else ():
            if python:
                subprocess.run([python, __file__, option, path, "--code", name, *options], check=True)


if __name__ == "__main__":
    main()
