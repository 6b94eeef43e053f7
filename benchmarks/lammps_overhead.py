"""What each door into LAMMPS costs a step: 64 atoms and a model that computes next to nothing.

    python benchmarks/lammps_overhead.py [--steps 2000]

``pair_style jaxff`` in the environment's LAMMPS, ``pair_style python`` in Debian's /usr/bin/lmp where it is installed,
and LAMMPS's own ``lj/cut`` for the part that is LAMMPS's. Milliseconds a step, the best of five runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

STOCK = Path("/usr/bin/lmp")
CUTOFF = 3.0
SCRIPT = (
    """
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
{pair}
neighbor 1.0 bin
velocity all create 1 4711
timestep 0.0001
fix 1 all nve
thermo 100000
run 50
"""
    + "run {steps}\n" * 5
)
DOORS = {
    "lj/cut": "pair_style lj/cut 3.0\npair_coeff * * 0.001 2.0",
    "jaxff": "pair_style jaxff\npair_coeff * * trivial.jaxff Si",
    "python": 'python load input 2 SELF trivial.jaxff format ps here "from jaxff.lammps.pair_python import load"\n'
    "python load invoke\npair_style python ${{jaxff_cutoff}}\npair_coeff * * jaxff.lammps.pair_python.ManyBody Si",
}


def harmonic(neighborhood):
    """A weak spring between neighbours, which is zero with its slope at the cutoff."""
    squared = jnp.sum(neighborhood.vectors**2, axis=-1)
    return 1e-5 * jnp.sum(jnp.where(neighborhood.mask, (squared - CUTOFF**2) ** 2, 0.0), axis=-1)


def milliseconds(program: Path, door: str, steps: int, folder: Path) -> float:
    """A step, from LAMMPS's own clock."""
    (folder / "in.overhead").write_text(
        SCRIPT.format(pair=DOORS[door].replace("{{", "{").replace("}}", "}"), steps=steps)
    )
    import jax_models
    import jaxff

    environment = dict(os.environ, OMP_NUM_THREADS="1", JAX_PLATFORMS="cpu")
    if program == STOCK:
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(m.__file__).parents[1]) for m in (jaxff, jax_models, np))
    done = subprocess.run(
        [program, "-in", "in.overhead", "-log", "none"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    times = [float(t) for t in re.findall(r"Loop time of (\S+) on", done.stdout)]
    if len(times) < 6:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return 1e3 * min(times[1:]) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    from jax_models import Potential

    own = Path(sys.prefix) / "bin" / "lmp"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Potential.from_function(harmonic, ["Si"], cutoff=CUTOFF).save(folder / "trivial.jaxff")
        for door, program in (("lj/cut", own), ("jaxff", own), ("python", STOCK)):
            if program.exists():
                print(f"pair_style {door:8s} {milliseconds(program, door, options.steps, folder):.3f} ms a step")
            else:
                print(f"pair_style {door:8s} {program} is not installed")


if __name__ == "__main__":
    main()
