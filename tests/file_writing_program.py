"""A program as DFT codes are: it reads a file in its working directory, takes its time and writes another.

python file_writing_program.py SECONDS
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from ase.calculators.calculator import FileIOCalculator
from ase.io import read, write


class Program(FileIOCalculator):
    """The calculator that drives it."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, seconds: float = 0.3, **named):
        super().__init__(command=f"{sys.executable} {__file__} {seconds}", **named)

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        write(Path(self.directory, "in.xyz"), atoms)

    def read_results(self):
        self.results = json.loads(Path(self.directory, "out.json").read_text())


def main() -> None:
    from ase.calculators.emt import EMT

    Path("pid").write_text(str(os.getpid()))
    time.sleep(float(sys.argv[1]))
    atoms = read("in.xyz")
    atoms.calc = EMT()
    found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    Path("out.json").write_text(json.dumps(found))
    Path("threads").write_text(os.environ["OMP_NUM_THREADS"])


if __name__ == "__main__":
    main()
