"""Grade, members and calibration of a trained potential, from the structures it was trained on and others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import lsq_linear

from jax_models.errors import ConfigError
from jax_models.potential import Potential
from jax_models.training.data.batches import Prepared, common_shape, prepare
from jax_models.training.data.structures import Structure
from jax_models.training.gradient.metrics import fixed_batches
from jax_models.training.settings import Settings
from jax_models.training.uncertainty.bootstrap import bootstrapped
from jax_models.training.uncertainty.measurement import Measured, measured, some_of, stacked_features
from jax_models.uncertainty import Grade, Uncertainty

COVERED = 0.9
"""Part of the held-out atoms whose force error is to be below the expected one."""
MOST_ATOMS = 50_000
"""Atoms of the training that are looked at: a covariance and two exponents need no more."""
SMALLEST_FORCE = 0.2
"""Of the root mean square force: below it, errors are not taken to fall with the force."""
SMALLEST_ERROR = 0.1
"""Of the root mean square error: what is smaller is so by symmetry. With this and `SMALLEST_FORCE`, the bar holds for
0.78 to 0.86 of the worst fifth of unseen atoms like the training's, sorted by their bars (mlearn Si, Mo, Cu; Li-Al);
with half of both, for 0.65 to 0.81."""
IN_SAMPLE = 1.3
"""Where nothing is held out and no head is fitted again, errors of prediction are taken to be so many times those of
the training."""
HEADS_COST = 0.5
"""Derivatives by the head, in neighbours times parameters, for each neighbour seen in training: 7 % of its time."""
LEAST_COST, MOST_COST = 1e7, 1e8
"""Bounds of that. Of a training of fewer than 2e7 neighbours it is more than 7 %: fewer structures left out would say
nothing of the errors (half a minute on one core)."""


def with_uncertainty(
    potential: Potential,
    structures: Sequence[Structure],
    held_out: Sequence[Structure] = (),
    settings: Settings | None = None,
    heads: Float[np.ndarray, "M P"] | None = None,
) -> Potential:
    """``potential`` with what it needs to know its errors; its energies stay what they are.

    Args:
        potential: of atoms or of layers; a committee brings its own members.
        structures: those it was trained on.
        held_out: others like them, by which the expected errors are calibrated. Without any, training errors stand in.
        settings: of the training; ``heads``, ``seed`` and the weights of labels count.
        heads: what the members' heads have more than the model's own, where these are known.

    Raises:
        ConfigError: a potential whose features belong to no atom; no structures but isolated atoms; no members.
    """
    settings = settings or Settings()
    check_supported(potential)
    model: Any = potential.model
    if heads is None and not settings.heads and not hasattr(model, "n_members"):
        raise ConfigError("training.heads is 0, so that there are no members; give two or more")
    structures = [s for s in structures if not s.isolated]
    held_out = [s for s in held_out if not s.isolated]
    if not structures:
        raise ConfigError("the training data hold isolated atoms alone: there is nothing to compare environments with")
    prepared, others_prepared = (
        [prepare(s, potential.elements, potential.reference_energies, potential.cutoff) for s in part]
        for part in (structures, held_out)
    )
    inflation = IN_SAMPLE
    if heads is None and hasattr(model, "n_members"):
        heads = np.zeros((0, 0))
    elif heads is None:
        found = bootstrapped(model, prepared, settings, _budget(prepared, settings))
        heads, inflation = found.heads, found.inflation
    shape = common_shape([*prepared, *others_prepared], settings.batch_structures)
    batches, held_out_batches = fixed_batches(prepared, shape), fixed_batches(others_prepared, shape)
    some = some_of(batches, MOST_ATOMS, settings.seed)
    features, species = stacked_features(model, some)
    fitted = Grade.of(features, species, len(potential.elements), settings.seed)
    grade = Grade(np.asarray(fitted.projection, np.float32), np.asarray(fitted.offset, np.float32))
    one = np.float32(1.0)
    first = Uncertainty(grade, one, np.zeros(2, np.float32), one, np.asarray(heads, np.float32), one)
    seen, others = measured(potential.model, first, some), measured(potential.model, first, held_out_batches)
    if seen is None:
        raise ConfigError("there are no training structures")
    uncertainty, facts = _calibrated(first, seen, others or seen, None if others else inflation)
    facts |= {"members": uncertainty.n_members(model), "held_out_structures": len(held_out)}
    return dataclasses.replace(
        potential, uncertainty=uncertainty, provenance={**potential.provenance, "uncertainty": facts}
    )


def check_supported(potential: Potential) -> None:
    """Refuse what has no features of atoms.

    Raises:
        ConfigError: says which potentials have them.
    """
    if potential.contract.system not in ("atoms", "layers") or not hasattr(potential.model, "energies_and_features"):
        raise ConfigError(
            "there is no uncertainty for potentials on a grid, of whole cells, or from functions: their features "
            "belong to no atom"
        )


def _calibrated(
    uncertainty: Uncertainty, seen: Measured, held_out: Measured, inflation: float | None
) -> tuple[Uncertainty, dict[str, Any]]:
    """Exponents from all atoms, the bar and the scale of the spread from those that are held out. Where these are the
    atoms of the training themselves, ``inflation`` multiplies their errors."""
    independent = inflation is None
    labelled = np.isfinite(held_out.error)
    margin = 1.0 if inflation is None else inflation
    # Without forces to compare with, the members' disagreement is all that is known of errors.
    errors = margin * np.where(labelled, held_out.error, held_out.spread) if labelled.any() else held_out.spread
    chosen = labelled if labelled.any() else np.ones(len(errors), bool)
    errors = errors[chosen]
    spread = 1.0
    if labelled.any():
        spread = float(np.sqrt(np.mean(errors**2) / max(np.mean(held_out.spread[chosen] ** 2), 1e-20)))
    smallest = SMALLEST_FORCE * float(np.sqrt(np.mean(seen.force**2))) + 1e-6
    rms = float(np.sqrt(np.mean(errors**2))) + 1e-12
    both = [part for part in ((seen, held_out) if independent else (held_out,)) if np.isfinite(part.error).any()]
    exponents = np.array([1.0, 0.0])
    if both:
        reach, force, error = (np.concatenate([getattr(p, name) for p in both]) for name in ("reach", "force", "error"))
        known = np.isfinite(error)
        inside, outside = np.log(np.minimum(reach, 1.0) + 1e-3), np.log(np.maximum(reach, 1.0))
        rows = np.column_stack([inside, 0.5 * np.log(force**2 + smallest**2), np.ones(len(reach))])
        logs = np.log(np.maximum(error, SMALLEST_ERROR * rms)) - outside
        # Errors grow with both, and no faster.
        bounds = ([0.0, 0.0, -np.inf], [1.0, 1.0, np.inf])
        exponents = lsq_linear(rows[known], logs[known], bounds=bounds).x[:2]
    new = dataclasses.replace(
        uncertainty,
        exponents=np.asarray(exponents, np.float32),
        smallest_force=np.float32(smallest),
        spread=np.float32(spread),
    )
    forces = np.column_stack([held_out.force[chosen], np.zeros((chosen.sum(), 2))])
    ratios = errors / np.maximum(new.expected_error(held_out.reach[chosen], forces), 1e-12)
    # Split conformal prediction: the quantile of n ratios that the next one stays below.
    level = min(np.ceil((len(ratios) + 1) * COVERED) / len(ratios), 1.0)
    bar = max(float(np.quantile(ratios, level)), 1e-6)
    # Rounded down, the atom that settles it would be left out.
    calibrated = dataclasses.replace(new, bar=np.nextafter(np.float32(bar), np.float32(np.inf)))
    covered = float(np.mean(errors <= calibrated.expected_error(held_out.reach[chosen], forces)))
    facts = {
        "coverage": covered,
        "calibrated_on": "held-out structures" if independent else f"training structures, errors times {margin:.2f}",
        "calibrated_with": "forces" if labelled.any() else "the spread of the members, for want of forces",
        "atoms": len(errors),
        "force_rmse": rms / 3.0**0.5,
        "exponents": [float(e) for e in exponents],
        "bar": bar,
        "spread_scale": spread,
    }
    return calibrated, facts


def _budget(prepared: Sequence[Prepared], settings: Settings) -> float:
    """Neighbours times parameters, a small part of what the training cost."""
    visits = settings.neighbor_visits
    if settings.epochs is not None:
        visits = settings.epochs * float(sum(p.mask.sum() for p in prepared))
    return float(np.clip(HEADS_COST * visits, LEAST_COST, MOST_COST))
