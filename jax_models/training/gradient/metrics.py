"""Mean absolute and root-mean-square errors of a model over a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import numpy as np

from jax_models.training.data.batches import Batch, Prepared, Shape, pack, packs
from jax_models.training.gradient.losses import Counts, Errors


def fixed_batches(prepared: Sequence[Prepared], shape: Shape) -> list[Batch]:
    """The data in order, in batches of ``shape``."""
    return [
        pack([prepared[i] for i in run], shape)
        for run in packs([p.rows for p in prepared], range(len(prepared)), shape)
    ]


def count(prepared: Sequence[Prepared]) -> Counts:
    return Counts(
        len(prepared),
        3 * sum(len(p) for p in prepared if p.forces is not None),
        9 * sum(p.virial is not None for p in prepared),
        sum(p.rows for p in prepared if getattr(p, "density", None) is not None),
    )


def measure(
    errors: Callable[[eqx.Module, Batch], Errors], model: eqx.Module, batches: Sequence[Batch]
) -> dict[str, float]:
    """``energy_rmse`` and ``energy_mae`` (eV/atom), ``force_*`` (eV/Å per component), ``virial_*`` (eV/atom) and
    ``density_*`` (times volume per atom: eV/atom), where labelled. Isolated atoms are left out of the energies."""
    found: dict[str, list[np.ndarray]] = {"energy": [], "force": [], "virial": [], "density": []}
    for batch in batches:
        e = errors(model, batch)
        for name, values, weights in (
            ("energy", e.energy, batch.energy_weight >= 1.0),
            ("force", e.forces, batch.force_weight),
            ("virial", e.virial, batch.virial_weight),
            ("density", e.density, getattr(batch, "density_weight", e.density)),
        ):
            found[name].append(np.asarray(values, float)[weights > 0].ravel())
    return summary(found)


def summary(errors: Mapping[str, Sequence[np.ndarray]]) -> dict[str, float]:
    """``NAME_rmse`` and ``NAME_mae`` of each kind that has any errors."""
    result = {}
    for name, parts in errors.items():
        values = np.concatenate(parts)
        if values.size:
            result[f"{name}_rmse"] = float(np.sqrt(np.mean(values**2)))
            result[f"{name}_mae"] = float(np.mean(np.abs(values)))
    return result


def loss_of(
    measured: dict[str, float],
    energy_weight: float,
    force_weight: float,
    stress_weight: float,
    density_weight: float = 0.0,
) -> float:
    """The training loss, from measured errors."""
    weights = {"energy": energy_weight, "force": force_weight, "virial": stress_weight, "density": density_weight}
    return sum(weight * measured.get(f"{name}_rmse", 0.0) ** 2 for name, weight in weights.items())
