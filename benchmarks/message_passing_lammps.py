"""Message exchange against the deep halo in LAMMPS: ghosts, memory, and time a step, on 1 and 2 ranks; weak scaling.

    python benchmarks/message_passing_lammps.py [--atoms 1000] [--network schnet] [--layers 1 2 3] [--runs 3]

Silicon, cutoff 5 Å, untrained weights, single precision. The last line of each exchange has twice the atoms on 2 ranks:
with perfect weak scaling its step takes as long as that of 1 rank. Wall time, the best of several runs; it needs idle
cores.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.prefix) / "bin"
SCRIPT = """
units metal
lattice diamond 5.43
region box block 0 {length} 0 {n} 0 {n}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
displace_atoms all random 0.05 0.05 0.05 1
pair_style jaxff device cpu exchange {exchange}
pair_coeff * * model.jaxff Si
velocity all create 300 1
fix 1 all nve
thermo 100
run 3
run 10
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, default=1000)
    parser.add_argument("--network", default="schnet", choices=("schnet", "painn", "mace"))
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    import numpy as np

    from jax_models import Contract, Potential
    from jax_models.models import build

    n = max(1, round((arguments.atoms / 8) ** (1 / 3)))
    print(
        f"{'layers':>6s} {'exchange':>8s} {'ranks':>5s} {'atoms':>6s} {'ghosts/rank':>11s} {'MB/rank':>8s} "
        f"{'ms/step':>8s} {'us/atom/step':>12s}"
    )
    for layers in arguments.layers:
        key = "num_interactions" if arguments.network == "mace" else "n_interactions"
        architecture = {"name": arguments.network, key: layers}
        model = build(architecture, ("Si",), 5.0)
        potential = Potential(Contract(("Si",), 5.0, layers, model.kind), model, architecture, np.zeros(1))
        with tempfile.TemporaryDirectory() as folder:
            potential.save(Path(folder) / "model.jaxff")
            for exchange in ("comm", "halo"):
                for ranks, length in ((1, n), (2, n), (2, 2 * n)):
                    (Path(folder) / "in.script").write_text(SCRIPT.format(n=n, length=length, exchange=exchange))
                    atoms = 8 * n * n * length
                    found = min((measure(folder, ranks) for _ in range(arguments.runs)), key=lambda run: run[-1])
                    print(f"{layers:6d} {exchange:>8s} {ranks:5d} {atoms:6d} {describe(*found, atoms)}", flush=True)


def measure(folder: str, ranks: int) -> tuple[float, float, float]:
    """Ghosts a rank, MB of the largest rank (NaN where GNU time is not installed), seconds a step."""
    environment = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", OMP_NUM_THREADS="1")
    memory = ["/usr/bin/time", "-f", "RSS %M"] if os.path.exists("/usr/bin/time") else []
    command = [str(BIN / "mpirun"), "-n", str(ranks), *memory, str(BIN / "lmp"), "-in", "in.script"]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    output = done.stdout + done.stderr
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", output)
    if not loops:
        raise SystemExit(output[-2000:])
    ghosts = float(re.findall(r"Nghost:\s+(\S+) ave", output)[-1])
    held = max((float(size) / 1024 for size in re.findall(r"RSS (\d+)", output)), default=float("nan"))
    return ghosts, held, float(loops[-1][0]) / int(loops[-1][1])


def describe(ghosts: float, held: float, seconds: float, atoms: int) -> str:
    return f"{ghosts:11.0f} {held:8.0f} {1e3 * seconds:8.1f} {1e6 * seconds / atoms:12.1f}"


if __name__ == "__main__":
    main()
