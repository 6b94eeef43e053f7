"""Phonons by finite displacements, with phonopy: band structure and density of states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from jax_models import ConfigError
from jaxff.properties.relaxation import relax, require_crystal
from jaxff.properties.vacancy import repeats

WIDTH = 10.0
"""Å: the supercell is at least so wide, for forces to have died away."""


@dataclass(frozen=True)
class Phonons:
    """Frequencies in THz; imaginary ones are negative."""

    distances: list[Float[np.ndarray, " Q"]]
    """Along each piece of the path, 1/Å."""
    bands: list[Float[np.ndarray, "Q B"]]
    labels: list[tuple[str, str]]
    """Special points at the ends of each piece (Setyawan, Curtarolo, Comput. Mater. Sci. 49, 299)."""
    frequencies: Float[np.ndarray, " D"]
    density: Float[np.ndarray, " D"]
    """Density of states, 1/THz; its integral is the number of bands."""
    gamma: Float[np.ndarray, " B"]
    """Frequencies at Gamma."""
    repeat: tuple[int, int, int]

    @property
    def lowest(self) -> float:
        """THz; below zero beyond rounding the crystal is unstable."""
        return float(min(piece.min() for piece in self.bands))

    @property
    def highest(self) -> float:
        """THz."""
        return float(max(piece.max() for piece in self.bands))


def phonons(
    atoms: Atoms,
    *,
    repeat: tuple[int, int, int] | None = None,
    displacement: float = 0.01,
    mesh: float = 40.0,
    points: int = 40,
    fmax: float = 1e-4,
) -> Phonons:
    """Relax the crystal, displace atoms of a supercell, and diagonalise the dynamical matrix.

    The primitive cell is found first; phonopy finds the displacements that symmetry leaves, symmetrises the force
    constants and sums over the zone.

    Args:
        atoms: a crystal with a calculator that gives stress; left as it is.
        repeat: primitive cells along each vector; None: a supercell at least 10 Å wide.
        displacement: Å.
        mesh: Å, length that sets the density of the mesh for the density of states (phonopy's).
        points: q points on each piece of the path.
        fmax: eV/Å, to which atoms and cell relax.

    Raises:
        StructureError: the structure is not periodic in three directions.
        ConfigError: ``repeat`` is not three positive whole numbers, or ``displacement`` not between 0 and 0.5.
        ConvergenceError: the relaxation does not converge.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> copper = bulk("Cu")
        >>> copper.calc = EMT()
        >>> 6 < phonons(copper, repeat=(3, 3, 3)).highest < 9
        True
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    require_crystal(atoms, "phonons need")
    if repeat is not None and not (len(repeat) == 3 and all(isinstance(n, int) and n > 0 for n in repeat)):
        raise ConfigError(f"repeat is {repeat}; it must be three positive whole numbers")
    if not 0 < displacement < 0.5:
        raise ConfigError(f"displacement is {displacement}; it must be between 0 and 0.5 Å")
    crystal = atoms.copy()
    crystal.calc = atoms.calc
    relax(crystal, fmax, cell=True)
    crystal = primitive(crystal)
    repeat = repeat or repeats(crystal, WIDTH)
    unit = PhonopyAtoms(
        symbols=crystal.get_chemical_symbols(), cell=crystal.cell.array, scaled_positions=crystal.get_scaled_positions()
    )
    phonon: Any = Phonopy(unit, np.diag(repeat), primitive_matrix=np.eye(3), log_level=0)
    phonon.generate_displacements(distance=displacement)
    phonon.forces = [_forces(cell, atoms.calc) for cell in phonon.supercells_with_displacements]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    pieces, labels = _path(crystal, points)
    phonon.run_band_structure(pieces)
    bands = phonon.band_structure
    phonon.run_mesh(mesh)
    phonon.run_total_dos()
    dos = phonon.total_dos
    return Phonons(
        [np.array(d) for d in bands.distances],
        [np.array(f) for f in bands.frequencies],
        labels,
        np.array(dos.frequency_points),
        np.array(dos.dos),
        np.array(phonon.run_qpoints([[0, 0, 0]]).frequencies[0]),
        (repeat[0], repeat[1], repeat[2]),
    )


def primitive(atoms: Atoms) -> Atoms:
    """The primitive cell, as spglib finds it; ``atoms`` itself where it finds no symmetry."""
    import spglib

    cell = atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers
    found = spglib.find_primitive(cell, symprec=1e-4)
    if found is None:
        return atoms
    return Atoms(found[2], cell=found[0], scaled_positions=found[1], pbc=True)


def _forces(cell, calculator) -> np.ndarray:
    displaced = Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    displaced.calc = calculator
    return displaced.get_forces()


def _path(crystal: Atoms, points: int) -> tuple[list[np.ndarray], list[tuple[str, str]]]:
    """The pieces between special points of the crystal's own lattice."""
    from ase.dft.kpoints import parse_path_string

    path = crystal.cell.bandpath()
    pieces, labels = [], []
    for run in parse_path_string(path.path):
        for start, end in zip(run[:-1], run[1:], strict=True):
            a, b = path.special_points[start], path.special_points[end]
            pieces.append(a + np.linspace(0, 1, points)[:, None] * (b - a))
            labels.append((start, end))
    return pieces, labels
