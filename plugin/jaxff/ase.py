"""The ASE calculator: energy, forces, stress and their per-atom parts from a .jaxff file."""

from __future__ import annotations

import hashlib
import os
import weakref
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jax_models import ConfigError, ModelFileError, Potential, StructureError
from jax_models.neighborhood import bucket
from jaxff.runtime import configure
from jaxff.systems.cell_system import WholeCellEvaluator
from jaxff.systems.evaluator import Evaluator, Workspace, evaluator_for
from jaxff.systems.grid_system import GridSystem
from jaxff.systems.layered_evaluator import LayeredEvaluator, LayeredWorkspace
from jaxff.systems.skin_list import SkinList

_evaluators: weakref.WeakValueDictionary[tuple, Evaluator] = weakref.WeakValueDictionary()
"""Calculators of one file share its compiled function; it goes when the last of them does."""

SPARE = 1.25
"""Room for neighbours, over what is needed, that is kept from an earlier structure."""


class JaxffCalculator(Calculator):
    """Energy, forces and stress of a potential, for everything that ASE does with a calculator.

    Gives ``energy`` (eV, reference energies of the elements included), ``free_energy`` (the same), ``energies[N]``,
    ``forces[N, 3]`` (eV/Å), and for a cell with a volume ``stress[6]`` and ``stresses[N, 6]`` (eV/Å³, Voigt, ASE's
    sign; the per-atom stresses are each atom's virial over the whole volume, so that they sum to the stress).
    Any boundary conditions; cells may be smaller than the cutoff. A potential of whole cells shares its energy evenly
    among the atoms and gives no ``stresses``.

    Args:
        potential: path of a ``.jaxff`` file, or a `jax_models.Potential`.
        precision: "single" or "double"; vectors are formed and results summed in double either way.
        device: "cpu", "gpu" or "auto".
        skin: Å added to the cutoff of the neighbour list, which is kept until atoms may have crossed it;
            0 builds it at every evaluation.

    Raises:
        ModelFileError: the file is missing, corrupt or too new.
        ConfigError: an unknown precision or device, or a negative skin.
        StructureError: (on evaluation) an element the potential lacks, positions that are not finite, atoms on top
            of each other.

    Example:
        >>> from ase.build import bulk
        >>> from jaxff import JaxffCalculator
        >>> atoms = bulk("Si", cubic=True)
        >>> atoms.calc = JaxffCalculator("lammps_examples/Si.jaxff")  # doctest: +SKIP
        >>> atoms.get_potential_energy()  # doctest: +SKIP
        -43.38
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]

    def __init__(
        self,
        potential: str | os.PathLike | Potential,
        precision: str = "single",
        device: str = "auto",
        skin: float = 0.5,
    ):
        super().__init__()
        if not (np.isfinite(skin) and skin >= 0):
            raise ConfigError(f"skin is {skin}; it must be a distance of 0 Å or more")
        configure()
        self.evaluator = _shared_evaluator(potential, precision, device)
        self.potential = self.evaluator.potential
        self._list = _list_for(self.evaluator, float(skin))
        self._numbers = np.zeros(0, int)
        self._species = np.zeros(0, np.int32)
        self._blocks: list[tuple[slice, Workspace]] = []
        self._width = 0

    @property
    def neighbor_list_builds(self) -> int:
        """How often the neighbour list was built so far."""
        return self._list.builds

    def __deepcopy__(self, memo) -> JaxffCalculator:
        # A compiled function cannot be copied, and sharing it is what the copy is for.
        copy = object.__new__(type(self))
        Calculator.__init__(copy)
        copy.evaluator, copy.potential = self.evaluator, self.potential
        copy._list = _list_for(self.evaluator, self._list.skin)
        copy._numbers, copy._species, copy._blocks, copy._width = np.zeros(0, int), np.zeros(0, np.int32), [], 0
        return copy

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation. Exact: ASE's own comparison, to 1e-15, takes ten times longer."""
        old = self.atoms
        if old is None:
            return list(all_changes)
        pairs = {
            "positions": (atoms.positions, old.positions),
            "numbers": (atoms.numbers, old.numbers),
            "cell": (atoms.cell.array, old.cell.array),
            "pbc": (atoms.pbc, old.pbc),
        }
        return [name for name, (new, previous) in pairs.items() if not np.array_equal(new, previous)]

    def calculate(self, atoms: Atoms | None = None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluate ``atoms``; see the class for what is given and raised."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if isinstance(self.evaluator, WholeCellEvaluator):
            self._calculate_whole_cell(atoms)
            return
        if isinstance(self._list, GridSystem):
            self._calculate_on_grid(atoms, properties)
            return
        self._update(atoms)
        energies = np.empty(len(atoms))
        if isinstance(self.evaluator, LayeredEvaluator):
            for rows, workspace in self._blocks:
                self._fill(atoms.positions, rows, workspace)
            results = self.evaluator.evaluate_all([workspace for _, workspace in self._blocks], len(atoms))
            for (rows, _), result in zip(self._blocks, results, strict=True):
                self._store(rows, *result, energies)
        else:
            for rows, workspace in self._blocks:
                self._fill(atoms.positions, rows, workspace)
                self._store(rows, *self.evaluator.evaluate(workspace), energies)
        if not np.isfinite(energies).all():
            raise StructureError(self._explain_not_finite(energies))
        energies += self.potential.reference_energies[self._species]
        self.results = {"energy": energies.sum(), "energies": energies, "forces": self._forces(len(atoms))}
        self.results["free_energy"] = self.results["energy"]
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 1e-8:
            strain_derivative = self._vectors.reshape(3, -1) @ self._gradient.reshape(3, -1).T
            self.results["stress"] = full_3x3_to_voigt_6_stress(strain_derivative / volume)
            if "stresses" in properties:
                virials = np.einsum("ank,bnk->nab", self._vectors, self._gradient)
                self.results["stresses"] = full_3x3_to_voigt_6_stress(virials / volume)

    def _calculate_whole_cell(self, atoms: Atoms) -> None:
        self._update_species(atoms)
        found = self.evaluator.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, self._species)
        energies = found["energy"] / max(len(atoms), 1) + self.potential.reference_energies[self._species]
        self.results = {"energy": energies.sum(), "energies": energies, "forces": found["forces"]}
        self.results["free_energy"] = self.results["energy"]
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 1e-8:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["virial"] / volume)

    def _calculate_on_grid(self, atoms: Atoms, properties) -> None:
        self._update_species(atoms)
        found = self._list.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, self._species)
        energies = found["energies"] + self.potential.reference_energies[self._species]
        self.results = {"energy": energies.sum(), "energies": energies, "forces": found["forces"]}
        self.results["free_energy"] = self.results["energy"]
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 1e-8:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["virials"].sum(axis=0) / volume)
            if "stresses" in properties:
                self.results["stresses"] = full_3x3_to_voigt_6_stress(found["virials"] / volume)

    def _update_species(self, atoms: Atoms) -> bool:
        if np.array_equal(atoms.numbers, self._numbers):
            return False
        self._species = self.potential.species_of(atoms.get_chemical_symbols())
        self._numbers = atoms.numbers.copy()
        return True

    def _update(self, atoms: Atoms) -> None:
        """Species, neighbour list and, where either changed, the arrays made from them."""
        new_species = self._update_species(atoms)
        rebuilt = self._list.update(atoms.positions, atoms.cell.array, atoms.pbc)
        if rebuilt or new_species:
            self._allocate()

    def _allocate(self) -> None:
        # The arrays are this calculator's own: the evaluator may be shared by NEB images that run in threads.
        n_atoms, n_neighbors = self._list.neighbors.shape
        size = self.evaluator.block_size(n_atoms)
        # Somewhat too wide costs less than compiling anew: structures one after another differ by a few neighbours.
        if not n_neighbors <= self._width <= SPARE * n_neighbors or not self._width:
            self._width = bucket(max(n_neighbors, 1))
        width = self._width
        neighbor_species = self._species[self._list.neighbors]
        self._blocks = []
        for start in range(0, n_atoms, size):
            rows = slice(start, min(start + size, n_atoms))
            n = rows.stop - start
            workspace = self.evaluator.new_workspace(size, width)
            workspace.species[:n] = self._species[rows]
            workspace.neighbor_species[:n, :n_neighbors] = neighbor_species[rows]
            if isinstance(workspace, LayeredWorkspace):
                workspace.neighbors[:n, :n_neighbors] = self._list.neighbors[rows]
                workspace.centers[:n] = np.arange(n_atoms, dtype=np.int32)[rows]
                workspace.weights[:n] = 1.0
            self._blocks.append((rows, workspace))
        self._vectors = np.empty((3, n_atoms, n_neighbors))
        self._gradient = np.empty((3, n_atoms, n_neighbors))

    def _fill(self, positions: np.ndarray, rows: slice, workspace: Workspace) -> None:
        """Vectors, formed in double, and the mask of those within the cutoff."""
        n, width = self._vectors[0, rows].shape
        neighbors = self._list.neighbors[rows]
        vectors = self._vectors[:, rows]
        distance2 = np.zeros((n, width))
        for axis in range(3):
            component = positions[:, axis]
            np.take(component, neighbors, out=vectors[axis])
            vectors[axis] -= component[rows, None]
            vectors[axis] += self._list.offsets[axis, rows]
            distance2 += vectors[axis] ** 2
        mask = distance2 < self._list.cutoff**2
        if width and not distance2.min() > 0.0:
            raise StructureError(self._explain_coincidence(distance2, rows))
        workspace.mask[:n, :width] = mask
        workspace.vectors[:n, :width] = vectors.transpose(1, 2, 0)

    def _store(self, rows: slice, block_energies: np.ndarray, gradient: np.ndarray, energies: np.ndarray) -> None:
        """Keep a block's results: its gradient component first, for the sums in double."""
        _, n, width = self._gradient[:, rows].shape
        energies[rows] = block_energies[:n]
        self._gradient[:, rows] = gradient[:n, :width].transpose(2, 0, 1)

    def _forces(self, n_atoms: int) -> np.ndarray:
        """F_i = sum of its own row of the gradient less what stands in its neighbours' rows, in double."""
        forces = self._gradient.sum(axis=2).T
        flat = self._list.neighbors.ravel()
        for axis in range(3):
            forces[:, axis] -= np.bincount(flat, weights=self._gradient[axis].ravel(), minlength=n_atoms)
        return np.ascontiguousarray(forces)

    def _explain_coincidence(self, distance2: np.ndarray, rows: slice) -> str:
        n, k = np.unravel_index(np.argmin(distance2), distance2.shape)
        i, j = rows.start + int(n), int(self._list.neighbors[rows][n, k])
        return f"atoms {min(i, j)} and {max(i, j)} are at the same place; move or remove one of them"

    def _explain_not_finite(self, energies: np.ndarray) -> str:
        atom = int(np.argwhere(~np.isfinite(energies))[0, 0])
        distance2 = (self._vectors[:, atom] ** 2).sum(axis=0)
        near = np.where(distance2 > 0, distance2, np.inf)
        text = f"the energy of atom {atom} is not finite"
        if near.size and np.isfinite(near.min()):
            k = int(np.argmin(near))
            text += f"; its nearest neighbour is atom {self._list.neighbors[atom, k]}, {np.sqrt(near[k]):.3g} Å away"
        return text


def _list_for(evaluator: Evaluator, skin: float) -> SkinList | GridSystem:
    if evaluator.potential.contract.centers == "grid":
        return GridSystem(evaluator, skin)
    return SkinList(evaluator.potential.cutoff, skin)


def _shared_evaluator(potential: str | os.PathLike | Potential, precision: str, device: str) -> Evaluator:
    """The evaluator of this file's content (or this object) at this precision and device, made on first use."""
    if isinstance(potential, Potential):
        key = (id(potential), precision, device)  # the evaluator holds the object, so its id stays its own
    else:
        path = Path(potential)
        try:
            key = (hashlib.sha256(path.read_bytes()).hexdigest(), precision, device)
        except OSError as error:
            raise ModelFileError(f"cannot read the potential {path}: {error.strerror}") from None
    evaluator = _evaluators.get(key)
    if evaluator is None:
        loaded = potential if isinstance(potential, Potential) else Potential.load(potential)
        evaluator = _evaluators[key] = evaluator_for(loaded, precision, device)
    return evaluator
