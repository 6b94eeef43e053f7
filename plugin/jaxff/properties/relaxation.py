"""What properties start from: a crystal, its atoms and cell relaxed with ASE's optimisers, or a clear word why not."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from jax_models import ConvergenceError, StructureError


def require_crystal(atoms: Atoms, who: str) -> None:
    """Refuse what has no lattice. ``who`` begins the message: "phonons need".

    Raises:
        StructureError: ``atoms`` are not periodic in three directions.
    """
    if not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise StructureError(f"{who} a crystal that is periodic in three directions")


def relax(atoms: Atoms, fmax: float, cell: bool = False, steps: int = 1000) -> None:
    """Move ``atoms`` (with a calculator) to where no force exceeds ``fmax`` (eV/Å), in place.

    Args:
        atoms: changed in place; its constraints are kept.
        fmax: eV/Å; with ``cell``, the forces on the cell count too.
        cell: relax all six degrees of freedom of the cell as well.
        steps: how many are allowed.

    Raises:
        ConvergenceError: ``fmax`` is not reached in ``steps``.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> copper = bulk("Cu", a=3.5)
        >>> copper.calc = EMT()
        >>> relax(copper, fmax=1e-4, cell=True)
        >>> round(float(copper.cell.lengths()[0] * 2**0.5), 2)
        3.59
    """
    # ASE's annotations leave out filters and None.
    target: Any = FrechetCellFilter(atoms) if cell else atoms
    silent: Any = None
    with LBFGS(target, logfile=silent) as optimizer:
        if not optimizer.run(fmax=fmax, steps=steps):
            largest = float((target.get_forces() ** 2).sum(axis=1).max() ** 0.5)
            raise ConvergenceError(
                f"the relaxation of {atoms.get_chemical_formula()} has forces of {largest:.2g} eV/Å after {steps} "
                f"steps, not below {fmax:g}; look at the structure, use double precision, or allow larger forces"
            )
