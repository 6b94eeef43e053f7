"""Elastic constants by second derivatives and by finite strains: time and agreement, interleaved, on the relaxed
crystal.

    python benchmarks/elastic_speed.py lammps_examples/Si.jaxff [--repeats 7]

Both start compiled; what compiling costs is printed too. Finite strains are as small, and forces as tight, as agreement
to 0.01 GPa needs; those of the command's defaults (0.005, 1e-4 eV/Å) come beside.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

from jaxff import JaxffCalculator
from jaxff.properties.elastic import elastic_constants

WAYS = {
    "autodiff": {"method": "autodiff"},
    "stress, strain 0.0005, 1e-6 eV/Å": {"strain": 5e-4, "fmax": 1e-6},
    "stress, default": {"strain": 5e-3, "fmax": 1e-4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="of silicon")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    calculator = JaxffCalculator(options.potential, "double")
    for name, crystal in (("2 atoms", bulk("Si", a=5.43)), ("8 atoms", bulk("Si", a=5.43, cubic=True))):
        crystal.calc = calculator
        started = time.perf_counter()
        relaxed = elastic_constants(crystal, fmax=1e-6, method="autodiff").atoms
        first = time.perf_counter() - started
        relaxed.calc = calculator
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        found = {}
        for _ in range(options.repeats + 1):
            for way, settings in WAYS.items():
                calculator.reset()
                started = time.perf_counter()
                found[way] = elastic_constants(relaxed, relax=False, **settings).constants
                seconds[way].append(time.perf_counter() - started)
        print(f"{name}: relaxation and the first autodiff, compiled or read from disk: {first:.1f} s")
        for way in WAYS:
            off = np.abs(found[way] - found["autodiff"]).max()
            print(f"  {way:34} {1e3 * np.median(seconds[way][1:]):8.1f} ms   off by {off:.4f} GPa", flush=True)


if __name__ == "__main__":
    main()
