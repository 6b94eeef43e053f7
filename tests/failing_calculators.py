"""ASE calculators that fail as real ones do; labelling must survive them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Failing(EMT):
    """EMT that fails as asked on structures with an odd number of atoms."""

    implemented_properties: ClassVar[list[str]] = EMT.implemented_properties

    def __init__(self, how: str):
        super().__init__()
        self.how = how

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.how == "mix up":
            self.results["forces"] = self.results["forces"][np.argsort(self.atoms.positions[:, 0])]
        elif len(atoms) % 2:
            if self.how == "segfault":
                print("about to go", flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
            elif self.how == "hang":
                time.sleep(1000)
            elif self.how == "garbage":
                for descriptor in range(3, 20):  # as a library does that mixes up its files
                    with contextlib.suppress(OSError):
                        os.write(descriptor, b"no answer\n")
            elif self.how == "diverge":
                self.results["energy"] = np.nan
            else:
                raise RuntimeError("no convergence\nafter 60 steps")


class Slow(Calculator):
    """Energy 1, after a while."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(0.1)
        self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}


class Noisy(Calculator):
    """Forces without a rule: no potential can learn them."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        # The same for the same structure, in whatever order its atoms are.
        draws = np.sin(1e4 * self.atoms.positions)
        self.results = {"energy": float(draws.sum()), "forces": 5.0 * draws}
