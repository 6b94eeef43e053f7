"""Potentials for stock LAMMPS through ``pair_style mliap unified``: the names that scripts and saved models use."""

from jaxff.lammps.mliap.unified import Unified as Unified
from jaxff.lammps.mliap.unified import _from_reference as _from_reference
from jaxff.lammps.mliap.unified import export_mliap as export_mliap
from jaxff.lammps.mliap.unified import load_unified as load_unified

__all__ = ["Unified", "export_mliap", "load_unified"]
