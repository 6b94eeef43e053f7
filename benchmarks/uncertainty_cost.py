"""What error bars cost in LAMMPS: part of benchmarks/uncertainty.py."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from pathlib import Path

import numpy as np

SYSTEM = """
clear
units metal
lattice diamond 5.43
region box block 0 6 0 6 0 6
create_box 1 box
create_atoms 1 box
mass 1 28.0855
pair_style jaxff threads 1 {keywords}
pair_coeff * * {potential} Si
velocity all create 600 4711
timestep 0.001
thermo 1000
{errors}
fix 1 all nve
run 20
run {steps}
"""
ERRORS = "fix u all pair 1 jaxff uncertainty 1 grade 1\ncompute p all pair jaxff"
LOOP = re.compile(r"Loop time of (\S+) on 1 procs for (\d+) steps with (\d+) atoms")
SHARE = re.compile(r"(\S+)% CPU use")


def measure_costs(potential: Path, committee: Path, repeats: int, steps: int = 100) -> dict[str, dict[str, float]]:
    """Of each way to run, microseconds of processor time an atom and step: medians and quartiles, and the load.

    All ways take turns in one LAMMPS process. Processor time is what LAMMPS says it used of the loop's time: other
    programs on the machine disturb it less.
    """
    from lammps_speed import run as run_lammps

    from jax_models import Potential

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.jaxff")
        dataclasses.replace(Potential.load(potential), uncertainty=None).save(plain)
        ways = {
            "plain potential, without uncertainty": (plain, "", ""),
            "with uncertainty, not asked": (potential, "", ""),
            "everything at every step": (potential, "", ERRORS),
            "every 10": (potential, "every 10", ERRORS),
            "committee of four, its mean": (committee, "", ""),
            "committee of four, everything at every step": (committee, "", ERRORS),
        }
        script = "".join(
            SYSTEM.format(potential=file.resolve(), keywords=keywords, errors=errors, steps=steps)
            for _ in range(repeats + 1)
            for file, keywords, errors in ways.values()
        )
        before = os.getloadavg()[0]
        output, _, _ = run_lammps(script)
        load = 0.5 * (before + os.getloadavg()[0])
    times = [
        1e4 * float(seconds) * float(share) / int(n) / int(atoms)
        for (seconds, n, atoms), share in zip(LOOP.findall(output), SHARE.findall(output), strict=True)
    ]
    # Of each two runs the first warms up; so does the first turn of all.
    taken = np.reshape(times[1::2], (repeats + 1, len(ways)))[1:]
    quantiles = np.quantile(taken, (0.5, 0.25, 0.75), axis=0).T.tolist()
    found = {way: dict(zip(("median", "low", "high"), q, strict=True)) for way, q in zip(ways, quantiles, strict=True)}
    return found | {"machine": {"load": load, "runs": repeats}}
