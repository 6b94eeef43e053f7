"""Is it a saddle? The lowest curvatures of the energy at a structure, from differences of forces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from jax_models import ConvergenceError

STEP = 1e-3
"""Å, of the differences."""
FLAT = 1e-2
"""eV/Å^2: a curvature above minus this is not taken for a direction of fall; forces in single precision give as
much."""


@dataclass(frozen=True)
class Saddle:
    """The lowest curvatures at a structure, translations left out."""

    curvatures: Float[np.ndarray, " M"]
    """eV/Å^2, ascending."""
    mode: Float[np.ndarray, "N 3"]
    """The direction of the lowest one, of length one."""

    @property
    def negative_modes(self) -> int:
        """Directions in which the energy falls; one at a saddle, none at a minimum."""
        return int(np.sum(self.curvatures < -FLAT))


def curvatures(atoms: Atoms, calculator: Calculator, lowest: int = 3) -> Saddle:
    """The ``lowest`` eigenvalues of the matrix of second derivatives (Lanczos; the matrix itself is never made).

    Args:
        atoms: where forces vanish; left as it is. Constrained atoms do not move.
        calculator: gives forces.
        lowest: how many; fewer where the structure has fewer degrees of freedom.

    Raises:
        ConvergenceError: the iteration does not settle; forces are too noisy.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> curvatures(bulk("Cu", a=3.59, cubic=True), EMT()).negative_modes
        0
    """
    moved = atoms.copy()
    moved.calc = calculator
    free = np.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        free[constraint.get_indices()] = False
    size = 3 * int(free.sum())
    translations = np.zeros((0, size))
    if free.all():
        translations = np.tile(np.eye(3), len(atoms)).reshape(3, size) / np.sqrt(len(atoms))

    def forces(displacement):
        moved.positions[free] = atoms.positions[free] + displacement.reshape(-1, 3)
        return moved.get_forces()[free].ravel()

    def product(vector):
        vector = np.ravel(vector)
        length = np.linalg.norm(vector)
        direction = vector / length
        change = (forces(-STEP * direction) - forces(STEP * direction)) / (2 * STEP) * length
        # Translations cost nothing; lifted far above the rest they stay out of the lowest.
        return change + 1e3 * translations.T @ (translations @ vector)

    start = np.random.default_rng(0).normal(size=size)
    count = max(1, min(lowest, size - len(translations) - 1))
    try:
        values, vectors = eigsh(
            LinearOperator((size, size), product, dtype=float), k=count, which="SA", v0=start, tol=1e-3
        )
    except ArpackNoConvergence as error:
        raise ConvergenceError(
            f"the curvatures of {atoms.get_chemical_formula()} do not settle: {error}; use double precision"
        ) from None
    order = np.argsort(values)
    mode = np.zeros((len(atoms), 3))
    mode[free] = vectors[:, order[0]].reshape(-1, 3)
    return Saddle(values[order], mode)
