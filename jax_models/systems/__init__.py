"""A potential evaluated for whole structures, one after another: one System for each kind of potential.

Example:
    >>> from jax_models import Potential
    >>> from jax_models.systems import system_for
    >>> potential = Potential.load("lammps_examples/Si.jaxff")  # doctest: +SKIP
    >>> system = system_for(potential, "double")  # doctest: +SKIP
    >>> system.evaluate(positions, cell, True, potential.species_of(["Si", "Si"])).energy  # doctest: +SKIP
    -10.84
"""

from jax_models.systems.factory import evaluator_for as evaluator_for
from jax_models.systems.factory import system_for as system_for
from jax_models.systems.result import Result as Result
from jax_models.systems.system import System as System

__all__ = ["Result", "System", "evaluator_for", "system_for"]
