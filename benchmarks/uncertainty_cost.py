"""What error bars cost in LAMMPS: part of benchmarks/uncertainty.py."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np

SCRIPT = """
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
run 50
run 100
run 100
run 100
"""
ERRORS = "fix u all pair 1 jaxff uncertainty 1 grade 1\ncompute p all pair jaxff"


def measure_costs(potential: Path, committee: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Microseconds an atom and step of each way to run, whose runs alternate; medians, quartiles and the load."""
    from lammps_speed import microseconds
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
        times: dict[str, list[float]] = {way: [] for way in ways}
        loads = []
        for _ in range(repeats):
            for way, (file, keywords, errors) in ways.items():
                loads.append(os.getloadavg()[0])
                script = SCRIPT.format(potential=file.resolve(), keywords=keywords, errors=errors)
                times[way].append(microseconds(run_lammps(script)[0]))
                print(f"{way:45s} {times[way][-1]:8.2f} µs/atom/step", flush=True)
    found = {
        way: dict(zip(("median", "low", "high"), np.quantile(runs, (0.5, 0.25, 0.75)).tolist(), strict=True))
        for way, runs in times.items()
    }
    return found | {"load": {"median": float(np.median(loads))}}
