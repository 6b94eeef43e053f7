"""Time per atom and step of an imported universal potential, beside the code that it comes from; and in LAMMPS.

    python benchmarks/universal_speed.py nequix-oam-1-pft.nqx --reference /path/to/venv/bin/python
    python benchmarks/universal_speed.py TensorNet.model.json --reference PYTHON --structures "Si 64" "oxide 64"
    python benchmarks/universal_speed.py checkpoint_sevennet_0.pth --lammps --structures "Si 1000" "Si 10648"

The kind of file says which code ``--reference`` must have: nequix (in JAX, without kernels), sevenn or matgl 2.0
(PyTorch, without accelerators). In ASE each code runs on one thread in a process of its own, ours before and after the
other. Atoms move a little before each step; the least of several steps counts, those that compile do not. With
``--lammps`` ours on 1 and 2 ranks, and the memory of the largest rank. Single precision.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

REFERENCES = {".nqx": "nequix", ".pth": "sevenn", ".json": "matgl"}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
METALS = ("Mg", "Co", "Ni", "Zn")
BIN = Path(sys.prefix) / "bin"
SCRIPT = """
units metal
read_data atoms.data
pair_style jaxff device cpu
pair_coeff * * model.jaxff {elements}
velocity all create 300 1
fix 1 all nve
run 2
run {steps}
run {steps}
run {steps}
"""


def structure(name: str) -> Atoms:
    """``Si N``: diamond; ``oxide N``: rocksalt with four metals at random."""
    kind, n = name.split()
    repeats = round((int(n) / 8) ** (1 / 3))
    if kind == "Si":
        atoms = bulk("Si", cubic=True).repeat(repeats)
    else:
        atoms = bulk("MgO", "rocksalt", a=4.24, cubic=True).repeat(repeats)
        symbols = np.array(atoms.get_chemical_symbols())
        metals = np.flatnonzero(symbols == "Mg")
        symbols[metals] = np.random.default_rng(0).permutation(np.resize(METALS, len(metals)))
        atoms.set_chemical_symbols(symbols.tolist())
    atoms.rattle(0.05, seed=1)
    return atoms


def seconds_per_step(calculator: Any, atoms: Atoms, steps: int, clock: Callable[[], float]) -> float:
    atoms.calc = calculator
    generator = np.random.default_rng(0)
    found = []
    for _ in range(steps + 2):
        atoms.positions += generator.normal(scale=1e-3, size=atoms.positions.shape)
        start = clock()
        atoms.get_forces()
        found.append(clock() - start)
    return min(found[2:])


def calculator_of(code: str, path: str) -> Any:
    if code == "jaxff":
        from jax_models.imports import potential_from_file
        from jaxff import JaxffCalculator

        return JaxffCalculator(potential_from_file(path))
    if code == "nequix":
        from nequix.calculator import NequixCalculator

        return NequixCalculator(model_path=path, backend="jax", use_kernel=False)
    if code == "sevenn":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(path, device="cpu")
    return matgl_calculator(path)


def matgl_calculator(path: str) -> Any:
    import json

    import torch
    from matgl.apps.pes import Potential
    from matgl.ext.ase import PESCalculator
    from matgl.models import TensorNet

    torch.set_num_threads(1)
    settings = json.loads(Path(path).read_text())["kwargs"]["model"]["init_args"] | {"dtype": torch.float32}
    state = torch.load(path.removesuffix("model.json") + "state.pt", map_location="cpu", weights_only=True)
    elements = state["element_refs.property_offset"]
    potential = Potential(TensorNet(**settings), state["data_mean"], state["data_std"], elements)
    potential.load_state_dict(state, strict=False)
    return PESCalculator(potential)


def timed(python: str, code: str, name: str, arguments: argparse.Namespace) -> float | None:
    """ms an atom and step in an interpreter of its own; None where that fails."""
    options = [name, "--steps", str(arguments.steps), *(["--cpu-time"] if arguments.cpu_time else [])]
    command = [python, __file__, arguments.file, "--code", code, "--structures", *options]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, text=True, capture_output=True)
    times = re.findall(r"^TIME (\S+)", done.stdout, re.MULTILINE)
    if not times:
        print(f"{code} failed on {name}:\n{done.stderr[-1000:]}", file=sys.stderr)
    return float(times[0]) if times else None


def beside_reference(arguments: argparse.Namespace) -> None:
    code = REFERENCES.get(Path(arguments.file).suffix, "")
    print(f"| structure | jaxff, ms/atom/step | {code} | times faster |\n|---|---|---|---|", flush=True)
    for name in arguments.structures:
        first = timed(sys.executable, "jaxff", name, arguments)
        other = timed(arguments.reference, code, name, arguments) if arguments.reference else None
        second = timed(sys.executable, "jaxff", name, arguments)
        if first is None or second is None:
            continue
        ours = (first + second) / 2
        theirs, ratio = (f"{other:.3f}", f"{other / ours:.1f}") if other else ("", "")
        print(f"| {name} | {first:.3f}, {second:.3f} | {theirs} | {ratio} |", flush=True)


def in_lammps(arguments: argparse.Namespace) -> None:
    from jax_models.imports import potential_from_file

    print("| structure | ranks | ms/atom/step | MB of the largest rank |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        potential_from_file(arguments.file).save(Path(folder) / "model.jaxff")
        for name in arguments.structures:
            atoms = structure(name)
            elements = sorted(set(atoms.get_chemical_symbols()))
            write(Path(folder) / "atoms.data", atoms, format="lammps-data", specorder=elements, masses=True)
            script = SCRIPT.format(elements=" ".join(elements), steps=arguments.steps)
            (Path(folder) / "in.script").write_text(script)
            for ranks in (1, 2):
                seconds, held = lammps_run(folder, ranks)
                print(f"| {name} | {ranks} | {1e3 * seconds / len(atoms):.3f} | {held:.0f} |", flush=True)


def lammps_run(folder: str, ranks: int) -> tuple[float, float]:
    """Seconds a step, the least of three runs, and MB of the largest rank (NaN where GNU time is not installed)."""
    environment = os.environ | ONE_THREAD | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    memory = ["/usr/bin/time", "-f", "RSS %M"] if os.path.exists("/usr/bin/time") else []
    command = [str(BIN / "mpirun"), "-n", str(ranks), *memory, str(BIN / "lmp"), "-in", "in.script"]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", done.stdout)
    if len(loops) < 4:
        raise SystemExit((done.stdout + done.stderr)[-2000:])
    held = max((float(size) / 1024 for size in re.findall(r"RSS (\d+)", done.stderr)), default=float("nan"))
    return min(float(seconds) / int(steps) for seconds, steps in loops[1:]), held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="as `jaxff import` reads it")
    parser.add_argument("--reference", metavar="PYTHON", help="an interpreter with the original code; none: only ours")
    parser.add_argument("--structures", nargs="+", default=["Si 64", "Si 1000", "oxide 64", "oxide 1000"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--lammps", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="processor time, where the machine is shared")
    parser.add_argument("--code", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.code:
        clock = time.process_time if arguments.cpu_time else time.perf_counter
        atoms = structure(arguments.structures[0])
        seconds = seconds_per_step(calculator_of(arguments.code, arguments.file), atoms, arguments.steps, clock)
        print(f"TIME {1e3 * seconds / len(atoms)}")
    elif arguments.lammps:
        in_lammps(arguments)
    else:
        beside_reference(arguments)


if __name__ == "__main__":
    main()
