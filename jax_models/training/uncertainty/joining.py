"""Several potentials as one: a committee in one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jax_models.committee import committee_of
from jax_models.contract import Contract
from jax_models.errors import ConfigError
from jax_models.potential import Potential


def joined(potentials: Sequence[Potential]) -> Potential:
    """The mean of potentials that differ in their parameters alone.

    Their grades go with them: that of the first, whose features the committee's grade is made of. Its calibration stays
    too, where it has one, until `with_uncertainty` gives a new one.

    Raises:
        ConfigError: fewer than two, or potentials that differ in elements, cutoff, architecture or teacher.
    """
    first = potentials[0]
    for number, other in enumerate(potentials[1:], start=2):
        for name in ("elements", "kind", "centers", "cutoff", "teacher"):
            if getattr(other.contract, name) != getattr(first.contract, name):
                raise ConfigError(
                    f"potential {number} has {name} {getattr(other.contract, name)}, the first "
                    f"{getattr(first.contract, name)}: the members of a committee must be alike"
                )
        if other.architecture != first.architecture:
            raise ConfigError(f"potential {number} has another architecture than the first; a committee needs one")
    if "members" in first.architecture:
        raise ConfigError("these are committees already; join their members instead")
    references = np.mean([p.reference_energies for p in potentials], axis=0)
    shifts = np.array([p.reference_energies - references for p in potentials], np.float32)
    model: Any = committee_of([p.model for p in potentials], len(first.elements), shifts)
    provenance = {**first.provenance, "members": [_origin(p) for p in potentials]}
    uncertainty = first.uncertainty
    if uncertainty is not None:
        uncertainty = dataclasses.replace(uncertainty, heads=np.zeros((0, 0), np.float32), spread=np.float32(1.0))
        facts = provenance.get("uncertainty", {})
        provenance["uncertainty"] = {**facts, "members": len(potentials), "spread_scale": 1.0}
    architecture = {"members": len(potentials), "of": first.architecture}
    contract = Contract.of(
        model, first.elements, first.cutoff, teacher=first.contract.teacher, citation=first.contract.citation
    )
    model = jax.tree.map(np.asarray, model)
    return Potential(contract, model, architecture, references, provenance, uncertainty)


def _origin(potential: Potential) -> dict[str, Any]:
    kept = ("metrics", "data_sha256", "epochs", "best_epoch")
    seed = potential.provenance.get("settings", {}).get("seed")
    return {"seed": seed, **{name: potential.provenance[name] for name in kept if name in potential.provenance}}
