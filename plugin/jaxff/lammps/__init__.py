"""LAMMPS: the Python side of ``pair_style jaxff`` and a launcher."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxff.lammps.launcher import start as start

__all__ = ["start"]


def __getattr__(name: str):
    # the entry point of every `import lammps` passes through here: nothing heavy may be imported
    if name == "start":
        from jaxff.lammps.launcher import start

        return start
    raise AttributeError(f"module 'jaxff.lammps' has no attribute {name!r}")
