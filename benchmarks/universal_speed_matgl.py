"""Time of an imported TensorNet in ASE, per atom and step, beside matgl's own in the same run.

    taskset -c 0 python benchmarks/universal_speed_matgl.py MODEL.json [--matgl PYTHON] [--structures TEXT ...]

Single precision, one core; processor time, the smallest of several steps. ``--matgl`` is an interpreter that has matgl
2.0 (for models of version 1) with PyTorch Geometric; it is no dependency of jaxff, and evaluates the same structures
with ``PESCalculator``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

SHARED = '''
import time
import numpy as np
from ase.build import bulk

def structure(name):
    """"Si 64", "Si 1000", "oxide 64": diamond, and rocksalt with four metals."""
    kind, n = name.split()
    repeats = round((int(n) / 8) ** (1 / 3))
    if kind == "Si":
        atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeats)
    else:
        atoms = bulk("MgO", "rocksalt", a=4.24, cubic=True).repeat(repeats)
        symbols = np.array(atoms.get_chemical_symbols())
        metal = np.flatnonzero(symbols == "Mg")
        symbols[metal] = np.random.default_rng(0).permutation(np.resize(["Mg", "Co", "Ni", "Zn"], len(metal)))
        atoms.set_chemical_symbols(symbols.tolist())
    atoms.rattle(0.05, seed=0)
    return atoms

def clock(atoms, steps):
    atoms.get_forces()
    best = 1e9
    for _ in range(steps):
        atoms.positions[0] += 1e-4
        start = time.process_time()
        atoms.get_forces()
        best = min(best, time.process_time() - start)
    return best / len(atoms) * 1e6
'''
MATGL = """
import json, sys, warnings; warnings.filterwarnings("ignore")
import torch
torch.set_num_threads(1)
from matgl.apps.pes import Potential
from matgl.ext.ase import PESCalculator
from matgl.models import TensorNet
arguments = json.load(open(sys.argv[1]))["kwargs"]["model"]["init_args"] | {"dtype": torch.float32}
state = torch.load(sys.argv[1].removesuffix("model.json") + "state.pt", map_location="cpu", weights_only=True)
potential = Potential(TensorNet(**arguments), state["data_mean"], state["data_std"],
                      state["element_refs.property_offset"])
potential.load_state_dict(state, strict=False)
atoms = structure(sys.argv[2])
atoms.calc = PESCalculator(potential)
print("TIME", clock(atoms, 4))
"""


OURS = """
import sys
from jax_models.imports import potential_from_file
from jaxff import JaxffCalculator
atoms = structure(sys.argv[2])
atoms.calc = JaxffCalculator(potential_from_file(sys.argv[1]))
print("TIME", clock(atoms, 8))
"""


def timed(python: str, code: str, path: str, name: str) -> float:
    """µs per atom and step, in an interpreter of its own."""
    run = subprocess.run([python, "-c", SHARED + code, path, name], capture_output=True, text=True)
    times = [line for line in run.stdout.splitlines() if line.startswith("TIME")]
    if not times:
        sys.exit(f"{python} failed:\n{run.stderr[-2000:]}")
    return float(times[0].split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--matgl", help="an interpreter that has matgl 2.0")
    parser.add_argument("--structures", nargs="*", default=["Si 64", "Si 1000", "oxide 64"])
    options = parser.parse_args()
    print("| structure | µs/atom/step | matgl | ratio |\n|---|---|---|---|")
    for name in options.structures:
        # Ours before and after the other, because other work may run on the machine.
        first = timed(sys.executable, OURS, options.model, name)
        other = timed(options.matgl, MATGL, options.model, name) if options.matgl else None
        second = timed(sys.executable, OURS, options.model, name)
        ratio = f"{other / max(first, second):.1f}-{other / min(first, second):.1f}" if other else ""
        print(f"| {name} | {first:.0f}, {second:.0f} | {f'{other:.0f}' if other else ''} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
