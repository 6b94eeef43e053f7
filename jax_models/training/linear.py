"""The linear trainer: least squares for a model with a linear readout, on any descriptor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jax_models.models import build, completed
from jax_models.potential import Contract, Potential
from jax_models.training.batches import Prepared, common_shape, prepare
from jax_models.training.datasets import Structure, check, elements_of, fingerprint, reference_energies
from jax_models.training.equations import check_linear, equations, parameters_of, row_weights, with_parameters
from jax_models.training.least_squares import STRENGTHS, cross_validated, folds_of, triangle
from jax_models.training.losses import errors
from jax_models.training.metrics import fixed_batches, measure
from jax_models.training.normalise import normalised
from jax_models.training.settings import Settings
from jax_models.training.trainer import Training

FOLDS = 8
"""Parts of the data for cross-validation; the training keeps a triangular factor of each, never the rows."""


def train_linear(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings | None = None,
    *,
    validation: Sequence[Structure] | None = None,
    progress: Callable[[int, int], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Training:
    """Fit the linear readout of a model to energies, and to forces and stresses where there are any and they weigh.

    The minimum of the gradient trainer's loss plus a ridge penalty, found directly. All structures are fitted; the ridge
    strength is the one that predicts left-out eighths of them best. Rows are streamed through QR factorisations: the memory
    grows with the square of the number of features, not with the data.

    Args:
        structures: training data.
        architecture: what `jax_models.models.build` takes; its readout is linear, also where none is given.
        cutoff: Å.
        settings: its weights, ``ridge`` and ``seed`` count.
        validation: only measured.
        progress: called with the number of structures done, and of all.
        provenance: added to what the potential says of its origin.

    Returns:
        The potential, and as history a record for each ridge strength tried.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: a setting out of range, or a model that is not linear in its readout.

    Example:
        >>> architecture = {"descriptor": {"name": "soap"}}
        >>> train_linear(read_structures("Si_train.xyz.xz"), architecture, 5.0).potential.save("si.jaxff")  # doctest: +SKIP
    """
    settings = settings or Settings()
    problem = pose(structures, architecture, cutoff, settings)
    n_columns = problem.n_parameters + 1
    n_folds = min(FOLDS, len(problem.prepared))
    folds = folds_of([s.group for s in problem.structures], n_folds, settings.seed)
    triangles = [np.zeros((0, n_columns))] * n_folds
    for number, rows in enumerate(problem.rows()):
        triangles[folds[number]] = triangle([triangles[folds[number]], rows], n_columns)
        progress and progress(number + 1, len(folds))
    fit = cross_validated(triangles, STRENGTHS if settings.ridge is None else [settings.ridge])
    origin = {"method": "linear", "ridge": fit.strength, **(provenance or {})}
    return Training(problem.potential(fit.parameters, origin, validation), fit.path)


@dataclass(frozen=True, eq=False)
class Problem:
    """Structures as linear equations for a model's readout, and the way back from parameters to a potential."""

    structures: list[Structure]
    prepared: list[Prepared]
    model: eqx.Module
    architecture: dict[str, Any]
    contract: Contract
    references: Float[np.ndarray, " S"]
    settings: Settings

    @property
    def n_parameters(self) -> int:
        return len(parameters_of(self.model))

    @property
    def bias_indices(self) -> list[int]:
        """The parameters that are constant energies of an element."""
        return list(range(self.model.readout.weights.size, self.n_parameters))

    @property
    def parameter_names(self) -> list[dict[str, Any]]:
        """What each parameter multiplies: an element's (or, off the atoms, any point's) feature, or its constant energy."""
        networks, n_features = self.model.readout.weights.shape
        elements = self.contract.elements if networks == len(self.contract.elements) else [""] * networks
        descriptor = getattr(self.model.descriptor, "inner", self.model.descriptor)
        features = getattr(descriptor, "feature_names", None) or [{} for _ in range(n_features)]
        weights = [{"element": e, "feature": n, **name} for e in elements for n, name in enumerate(features)]
        return weights + [{"element": e, "feature": None} for e in elements]

    def rows(self) -> Iterator[Float[np.ndarray, "R P+1"]]:
        """Each structure's weighted equations, the targets as last column."""
        weights = row_weights(self.prepared, self.settings)
        forces, stress = weights[1] > 0, weights[2] > 0
        for found in equations(self.model, self.prepared, forces, stress):
            yield found.weighted(*weights)

    def potential(
        self, parameters: Float[np.ndarray, " P"], origin: dict[str, Any], validation: Sequence[Structure] | None = None
    ) -> Potential:
        """The potential with these parameters, kept in double; its provenance tells its errors on both data sets.

        Raises:
            DatasetError: ``validation`` has an element that the training data lack.
        """
        model = with_parameters(jax.tree.map(np.asarray, self.model), np.asarray(parameters, float))
        sets = {"train": self.prepared}
        if validation is not None:
            check(validation)
            elements, cutoff = self.contract.elements, self.contract.cutoff
            sets["validation"] = [prepare(s, elements, self.references, cutoff, np.float64) for s in validation]
        origin = {
            "metrics": {name: _measured(model, prepared) for name, prepared in sets.items()},
            "settings": self.settings.to_dict(),
            "n_train": len(self.structures),
            "n_validation": len(validation or ()),
            "data_sha256": fingerprint([*self.structures, *(validation or ())]),
            **origin,
        }
        return Potential(self.contract, model, self.architecture, self.references, origin)


def pose(structures: Sequence[Structure], architecture: dict[str, Any], cutoff: float, settings: Settings) -> Problem:
    """The linear problem that data and architecture make; see `train_linear` for the arguments and what is raised."""
    check(structures)
    elements = elements_of(structures)
    structures = [s for s in structures if not s.isolated or s.symbols[0] in elements]
    references = reference_energies(structures, elements)
    if "name" not in architecture:
        architecture = {"readout": {"name": "linear"}, **architecture}
    architecture = completed(architecture)
    model = build(architecture, elements, cutoff, settings.seed)
    check_linear(model)
    prepared = [prepare(s, elements, references, cutoff, np.float64) for s in structures]
    with jax.enable_x64(True):
        model = normalised(model, fixed_batches(prepared, common_shape(prepared, 4)))
    contract = Contract.of(model, elements, cutoff)
    return Problem(structures, prepared, model, architecture, contract, references, settings)


def _measured(model: eqx.Module, prepared: Sequence[Prepared]) -> dict[str, float]:
    # In double: a fit with little ridge has large parameters whose contributions cancel.
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf, model)
        return measure(eqx.filter_jit(errors), model, fixed_batches(prepared, common_shape(prepared, 4)))
