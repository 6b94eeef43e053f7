"""The last step of `jaxff train`: a potential learns how large its errors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jax_models import Potential
from jax_models.errors import ConfigError
from jaxff.train.preparation import Preparation

if TYPE_CHECKING:
    from jax_models.training.data.structures import Structure


def knowing_errors(potential: Potential, preparation: Preparation, heads: Any = None) -> Potential:
    """``potential`` with members, grade and calibration, where its kind can have them and the settings want them.

    Args:
        heads: of a linear model, what its members have more; else they are fitted.
    """
    from jax_models.training.uncertainty import with_uncertainty
    from jax_models.training.uncertainty.assess import check_supported

    settings = preparation.config.settings()
    if not settings.heads:
        return potential
    try:
        check_supported(potential)
    except ConfigError:
        return potential
    structures, held_out = _parts(potential, preparation)
    return with_uncertainty(potential, structures, held_out, settings, heads)


def _parts(potential: Potential, preparation: Preparation) -> tuple[list[Structure], Sequence[Structure]]:
    """What was trained on and what was not, with the labels that were learned."""
    data = preparation.data
    held_out = preparation.held_out or data.validation or []
    if potential.contract.teacher is None:
        seen = {id(s) for s in held_out}
        return [s for s in data.structures if id(s) not in seen], held_out
    from jax_models.training.teachers.teacher_training import less_teacher

    # A delta model's labels are what its teacher misses.
    name = potential.contract.teacher["teacher"]
    structures = less_teacher(data.labelled, data.names, name)
    others = [] if data.held_out is None else less_teacher(data.held_out, data.names, name)
    if data.held_out is not None:
        return structures, others
    outside = {id(s) for s in held_out}
    parts: tuple[list[Structure], list[Structure]] = [], []
    for given, learned in zip(data.structures, structures, strict=True):
        parts[id(given) in outside].append(learned)
    return parts
