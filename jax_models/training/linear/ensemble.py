"""Ensembles of linear models: the mean is one potential, and the members stay with it to tell how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from jax_models.potential import Potential
from jax_models.training.linear.equations import parameters_of, with_parameters

KEY = "ensemble"
"""In a potential's provenance: for each member the ``parameters`` that are not zero, by their index."""


def described(members: Sequence[Float[np.ndarray, " P"]]) -> list[dict[str, Any]]:
    """Members as the provenance holds them."""
    return [{"index": np.flatnonzero(m).tolist(), "parameters": m[np.flatnonzero(m)].tolist()} for m in members]


def members_of(potential: Potential) -> list[Potential]:
    """The members of an ensemble's mean, each a potential of its own; none where it is not one.

    Linear models average exactly: the mean of the members' energies is the energy of ``potential``. Their spread is its
    uncertainty, for any property that can be computed with each of them.

    Example:
        >>> members = members_of(Potential.load("si.jaxff"))  # doctest: +SKIP
        >>> np.std([m.evaluate(*structure)["energy"] for m in members])  # doctest: +SKIP
    """
    result = []
    for member in potential.provenance.get(KEY, []):
        parameters = np.zeros(len(parameters_of(potential.model)))
        parameters[member["index"]] = member["parameters"]
        origin = {k: v for k, v in potential.provenance.items() if k != KEY}
        result.append(replace(potential, model=with_parameters(potential.model, parameters), provenance=origin))
    return result
