"""Potentials for stock LAMMPS through ``pair_style python``: the names that input scripts use."""

from jaxff.lammps.pair_python.styles import ManyBody as ManyBody
from jaxff.lammps.pair_python.styles import Pairwise as Pairwise
from jaxff.lammps.pair_python.styles import load as load

__all__ = ["ManyBody", "Pairwise", "load"]
