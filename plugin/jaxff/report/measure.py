"""A potential's errors for labelled structures, structure by structure and atom by atom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.calculators.calculator import Calculator
from jaxtyping import Float

from jax_models import Potential
from jax_models.errors import DatasetError
from jax_models.training.data.batches import common_shape, prepare
from jax_models.training.data.structures import Structure
from jax_models.training.gradient.metrics import fixed_batches
from jax_models.training.uncertainty.measurement import stacked_features
from jaxff.evaluation import Evaluation, Labelled, evaluate
from jaxff.features import describe

BATCH = 4
"""Structures whose features are computed together."""


@dataclass
class Measured:
    """What was found."""

    structures: list[Labelled]
    evaluation: Evaluation = field(default_factory=Evaluation)
    """Of all structures together."""
    parts: list[Evaluation] = field(default_factory=list)
    """Of each structure."""

    def symbols(self) -> np.ndarray:
        """Elements of the atoms whose forces are known, in the order of the evaluation."""
        labelled = [s for s in self.structures if s.forces is not None]
        return np.array([symbol for s in labelled for symbol in s.atoms.get_chemical_symbols()])

    def by_element(self) -> dict[str, dict[str, float]]:
        """Force errors of each element's atoms, with the keys of `Evaluation.errors`."""
        symbols = self.symbols()
        reference, predicted = (np.reshape(values, (-1, 3)) for values in self.evaluation.force.of(None))
        found, expected = self.evaluation.force_error.of(None)
        result: dict[str, dict[str, float]] = {}
        for symbol in sorted(set(symbols)):
            chosen = symbols == symbol
            error = (predicted - reference)[chosen]
            result[str(symbol)] = {
                "n_atoms": int(chosen.sum()),
                "force_mae_ev_per_angstrom": float(np.abs(error).mean()),
                "force_rmse_ev_per_angstrom": float(np.sqrt((error**2).mean())),
                "largest_force_error_ev_per_angstrom": float(np.linalg.norm(error, axis=1).max()),
            }
            if len(found):
                result[str(symbol)]["coverage"] = float(np.mean(found[chosen] <= expected[chosen]))
        return result


def check_elements(potential: Potential, model: str, structures: Sequence[Labelled], data: str) -> None:
    """Refuse data that the potential was not made for, before anything is computed.

    Raises:
        DatasetError: names the elements of both.
    """
    present = {symbol for s in structures for symbol in s.atoms.get_chemical_symbols()}
    unknown = sorted(present - set(potential.elements))
    if unknown:
        raise DatasetError(
            f"{data} holds {', '.join(unknown)}, but {model} is a potential of {', '.join(potential.elements)}; "
            "give data of its elements"
        )


def measure(structures: Iterable[Labelled], calculator: Calculator) -> Measured:
    """Evaluate every structure.

    Raises:
        StructureError: a structure cannot be evaluated; the text names it.
    """
    result = Measured([])
    for structure in structures:
        part = evaluate([structure], calculator)
        result.structures.append(structure)
        result.parts.append(part)
        result.evaluation.add(part)
    return result


def structure_features(potential: Potential, structures: Sequence[Labelled]) -> tuple[Float[np.ndarray, "S F"], str]:
    """One row a structure, the mean over its atoms, and in words what the features are.

    They are those that the potential itself computes. Where it has none of atoms (a grid, whole cells, a function),
    SOAP's take their place, so that there is a map of the data for any potential.

    Raises:
        DatasetError: a structure has atoms at the same place.
    """
    frames = [s.atoms for s in structures]
    if potential.contract.system in ("atoms", "layers") and hasattr(potential.model, "energies_and_features"):
        prepared = [
            prepare(_unlabelled(s), potential.elements, potential.reference_energies, potential.cutoff)
            for s in structures
        ]
        batches = fixed_batches(prepared, common_shape(prepared, BATCH))
        rows, name = stacked_features(potential.model, batches)[0], "the potential's own features"
    else:
        rows, name = describe(frames, "soap", cutoff=5.0, elements=potential.elements), "SOAP features"
    ends = np.cumsum([len(atoms) for atoms in frames])[:-1]
    return np.array([part.mean(axis=0, dtype=float) for part in np.split(rows, ends)]), name


def _unlabelled(labelled: Labelled) -> Structure:
    atoms = labelled.atoms
    symbols = tuple(atoms.get_chemical_symbols())
    return Structure(atoms.positions, atoms.cell.array, atoms.pbc, symbols, energy=0.0, name=labelled.name)
