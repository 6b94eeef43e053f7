"""Structures and a model with a linear readout as linear equations, and the way back to a potential."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jax_models.contract import Contract
from jax_models.models import build, completed
from jax_models.potential import Potential
from jax_models.training.data.batches import Prepared, common_shape
from jax_models.training.data.grid_batches import rows_of
from jax_models.training.data.short_range import with_repulsion
from jax_models.training.data.structures import Structure, check, elements_of, fingerprint, reference_energies
from jax_models.training.gradient.losses import errors
from jax_models.training.gradient.metrics import fixed_batches, measure
from jax_models.training.gradient.normalise import SMALLEST, normalised
from jax_models.training.linear.equations import (
    Equations,
    check_linear,
    equations,
    feature_names,
    measured_by,
    parameters_of,
    row_weights,
    with_parameters,
)
from jax_models.training.linear.whole_cell_equations import PreparedCell, cell_equations, normalised_cells, prepare_cell
from jax_models.training.settings import Settings


@dataclass(frozen=True, eq=False)
class Problem:
    """The linear equations of a data set. ``weights`` are those of the rows of energies, forces and virials."""

    structures: list[Structure]
    model: Any
    architecture: dict[str, Any]
    contract: Contract
    references: Float[np.ndarray, " S"]
    settings: Settings
    weights: tuple[float, float, float]
    equations: Callable[[], Iterable[Equations]]
    """Each structure's, in order; made anew at each call where they are too many to keep."""
    metrics: Callable[[Any, Sequence[Structure] | None], dict[str, float]]
    """Errors of a model on structures; None: on those of the problem."""

    @property
    def n_parameters(self) -> int:
        return len(parameters_of(self.model))

    @property
    def bias_indices(self) -> list[int]:
        """The parameters that are constant energies of an element."""
        return list(range(self.model.readout.weights.size, self.n_parameters))

    @property
    def parameter_names(self) -> list[dict[str, Any]]:
        """What each parameter multiplies: an element's (or, off the atoms, any point's) feature, or its constant
        energy."""
        networks = len(self.model.readout.weights)
        elements = self.contract.elements if networks == len(self.contract.elements) else [""] * networks
        weights = [
            {"element": e, "feature": n, **name} for e in elements for n, name in enumerate(feature_names(self.model))
        ]
        return weights + [{"element": e, "feature": None} for e in elements]

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """Each structure's energy without those of its atoms, eV/atom."""
        index = {e: n for n, e in enumerate(self.contract.elements)}
        return np.array(
            [(s.energy - sum(self.references[index[e]] for e in s.symbols)) / len(s) for s in self.structures]
        )

    @property
    def kinds(self) -> list[tuple[str, float]]:
        """Family (group and composition) and energy of each structure, for `folds_of`."""
        families = [
            " ".join([s.group, *(f"{e}{s.symbols.count(e)}" for e in sorted(set(s.symbols)))]) for s in self.structures
        ]
        return list(zip(families, self.energies.tolist(), strict=True))

    def rows(self) -> Iterator[Float[np.ndarray, "R P+1"]]:
        """Each structure's weighted equations, the targets as last column."""
        above, width = self.energies - self.energies.min(), self.settings.energy_range
        factors = np.ones(len(above)) if width is None else 1.0 / (1.0 + above / width)
        factors = factors * np.sqrt([s.weight for s in self.structures])
        for factor, found in zip(factors, self.equations(), strict=True):
            yield factor * found.weighted(*self.weights)

    def potential(
        self, parameters: Float[np.ndarray, " P"], origin: dict[str, Any], validation: Sequence[Structure] | None = None
    ) -> Potential:
        """The potential with these parameters, kept in double; its provenance tells its errors on both data sets.

        Raises:
            DatasetError: ``validation`` has an element that the training data lack.
        """
        model = with_parameters(jax.tree.map(np.asarray, self.model), np.asarray(parameters, float))
        metrics = {"train": self.metrics(model, None)}
        if validation is not None:
            check(validation)
            metrics["validation"] = self.metrics(model, validation)
        origin = {
            "metrics": metrics,
            "settings": self.settings.to_dict(),
            "n_train": len(self.structures),
            "n_validation": len(validation or ()),
            "data_sha256": fingerprint([*self.structures, *(validation or ())]),
            **origin,
        }
        return Potential(self.contract, model, self.architecture, self.references, origin)


def pose(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings,
    others: Sequence[Structure] = (),
) -> Problem:
    """The linear problem that data and architecture make; see `train_linear` for the arguments and what is raised.

    Args:
        others: structures that are not fitted, but whose shortest distances, too, the default repulsion leaves alone.
    """
    check(structures)
    elements = elements_of(structures)
    structures = [s for s in structures if not s.isolated or s.symbols[0] in elements]
    references = reference_energies(structures, elements)
    if "name" not in architecture:
        architecture = {"readout": {"name": "linear"}, **architecture}
    model = build(architecture, elements, cutoff, settings.seed)
    check_linear(model)
    if model.kind == "global":
        model, *rest = _of_cells(structures, model, elements, references, settings)
    else:
        prepared = [rows_of(model)(s, elements, references, cutoff, np.float64) for s in structures]
        seen = [*prepared, *(rows_of(model)(s, elements, references, cutoff, np.float64) for s in others)]
        architecture = with_repulsion(architecture, elements, cutoff, fixed_batches(seen, common_shape(seen, 4)))
        model = build(architecture, elements, cutoff, settings.seed)
        model, *rest = _of_environments(prepared, model, elements, references, cutoff, settings)
    architecture = completed(architecture)
    return Problem(structures, model, architecture, Contract.of(model, elements, cutoff), references, settings, *rest)


def _of_environments(prepared, model, elements, references, cutoff, settings):
    prepare_rows = rows_of(model)

    def prepared_of(members: Sequence[Structure]) -> list[Prepared]:
        return [prepare_rows(s, elements, references, cutoff, np.float64) for s in members]

    def metrics(model, members):
        # In double: a fit with little ridge has large parameters whose contributions cancel.
        with jax.enable_x64(True):
            model = jax.tree.map(lambda leaf: jnp.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf, model)
            data = prepared if members is None else prepared_of(members)
            return measure(eqx.filter_jit(errors), model, fixed_batches(data, common_shape(data, 4)))

    weights = row_weights(prepared, settings)
    with jax.enable_x64(True):
        # A smooth prior weighs features by their orders: all of them are then in units of their own spread.
        smallest = (0.0, 1e-8) if settings.prior == "smooth" else SMALLEST
        model = normalised(model, fixed_batches(prepared, common_shape(prepared, 4)), smallest)
    return model, weights, lambda: equations(model, prepared, weights[1] > 0, weights[2] > 0), metrics


def _of_cells(structures, model, elements, references, settings):
    """Features of whole cells cost too much to be computed twice: the equations are kept."""

    def prepared_of(members: Sequence[Structure]) -> list[PreparedCell]:
        return [prepare_cell(s, model, elements, references) for s in members]

    prepared = prepared_of(structures)
    weights = row_weights(prepared, settings)
    asked = weights[1] > 0, weights[2] > 0
    model, kept = normalised_cells(model, list(cell_equations(model, prepared, *asked)))

    def metrics(trained, members):
        found = kept if members is None else list(cell_equations(model, prepared_of(members), *asked))
        return measured_by(found, parameters_of(trained))

    return model, weights, lambda: kept, metrics
