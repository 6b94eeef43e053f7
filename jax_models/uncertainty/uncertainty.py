"""Uncertainty: what stands beside a model in its file, and turns its features and members into error bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from jax_models.errors import ModelFileError
from jax_models.heads import Heads
from jax_models.neighborhood import Neighborhood
from jax_models.uncertainty.grade import Grade


def reach(
    grade: Float[Any, " N"], neighbors: Int[Any, "N K"], mask: Bool[Any, "N K"], xp: Any = np
) -> Float[Any, " N"]:
    """Root mean square of an atom's grade and the mean of its neighbours'; an atom that is alone has its own.

    Args:
        neighbors: index of each neighbour; where ``mask`` is False there is none.
        xp: NumPy, or jax.numpy.
    """
    squares = grade**2
    number = mask.sum(axis=1)
    around = xp.where(mask, xp.take(squares, neighbors, mode="clip"), 0.0).sum(axis=1)
    around = xp.where(number > 0, around / xp.maximum(number, 1), squares)
    return xp.sqrt(0.5 * (squares + around))


class Uncertainty(eqx.Module):
    """Grade, members and their calibration.

    The expected force error of an atom is ``bar * s(g) * (|F|^2 + f0^2)^(b/2)`` in eV/Å: errors grow with the
    distance from the training, and with the force itself. A force is made of the energies of an atom and of those
    around it: g^2 is half of its grade squared and half of its neighbours' (`reach`). s is g^a up to 1, the edge of the
    training, and g itself beyond: how errors grow outside cannot be seen inside (a potential of 20 cold crystals was
    wrong by 0.0009 eV/Å there and by 0.7 in their liquid, at a grade of 1500). The exponents are fitted to the errors
    at the end of the training, and ``bar`` by split conformal prediction (Vovk, 2005; Angelopoulos, Bates, arXiv
    2107.07511): nine of ten atoms of the held-out structures have a smaller error.
    """

    grade: Grade
    bar: Float[Any, ""]
    exponents: Float[Any, " 2"]
    """a and b."""
    smallest_force: Float[Any, ""]
    """f0, eV/Å."""
    heads: Float[Any, "M P"]
    """What each member's head has more than the model's own, flattened; they sum to zero. No rows where the model is a
    committee, whose members are whole models."""
    spread: Float[Any, ""]
    """What the members' standard deviations are multiplied by, so that they are as large as the held-out errors."""

    def members_energies(self, model: Any, neighborhood: Neighborhood) -> Float[Array, "M N"]:
        """Energy of each centre (eV) by each member; their mean is the model's."""
        if hasattr(model, "members_energies"):
            return model.members_energies(neighborhood)
        return self._heads_of(model).outputs(neighborhood).T

    def _heads_of(self, model: Any) -> Heads:
        flat, unravel = ravel_pytree(model.head())
        return Heads(model, jax.vmap(unravel)(flat + jnp.asarray(self.heads, flat.dtype)))

    def n_members(self, model: Any) -> int:
        return len(self.heads) or getattr(model, "n_members", 0)

    def expected_error(
        self, reached: Float[np.ndarray, " N"], forces: Float[np.ndarray, "N 3"]
    ) -> Float[np.ndarray, " N"]:
        """Of each atom's force, eV/Å: nine of ten held-out atoms have a smaller error.

        Args:
            reached: `reach` of each atom.
            forces: eV/Å.
        """
        a, b = np.asarray(self.exponents, float)
        squared = (np.asarray(forces, float) ** 2).sum(axis=1) + float(self.smallest_force) ** 2
        reached = np.asarray(reached, float)
        distance = np.where(reached < 1.0, reached**a, reached)
        return float(self.bar) * distance * squared ** (0.5 * b)

    def arrays(self) -> dict[str, np.ndarray]:
        """By the names that `from_arrays` takes."""
        found = {name: getattr(self, name) for name in ("bar", "exponents", "smallest_force", "heads", "spread")}
        found |= {"grade_projection": self.grade.projection, "grade_offset": self.grade.offset}
        return {name: np.asarray(value, order="C") for name, value in found.items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray], n_elements: int, n_head: int, n_features: int) -> Uncertainty:
        """What `arrays` gave.

        Args:
            n_elements: of the potential.
            n_head: parameters of its model's head.
            n_features: of an atom, in its model.

        Raises:
            ModelFileError: one is missing, of the wrong shape, or not finite; there is one member alone; or the bar is
                negative.
        """
        dimensions: dict[str, int] = {"S": n_elements, "two": 2, "P": n_head, "F": n_features}
        shapes = {
            "bar": "", "exponents": "two", "smallest_force": "", "heads": "M P", "spread": "",
            "grade_projection": "S F D", "grade_offset": "S D",
        }  # fmt: skip
        if set(arrays) != set(shapes):
            raise ModelFileError(f"the uncertainty holds {', '.join(sorted(arrays))}, not {', '.join(sorted(shapes))}")
        for name, shape in shapes.items():
            found, names = arrays[name].shape, shape.split()
            sizes = dict(zip(names, found, strict=False))
            if name == "heads" and found[:1] == (0,):
                sizes.pop("P", None)
            if len(found) != len(names) or any(dimensions.setdefault(d, n) != n for d, n in sizes.items()):
                raise ModelFileError(f"the uncertainty's {name} has shape {found}; it must be [{shape}]")
            if not np.isfinite(arrays[name]).all():
                raise ModelFileError(f"the uncertainty's {name} is not finite")
        if len(arrays["heads"]) == 1:
            raise ModelFileError("the uncertainty has one member; a spread needs two or more")
        if arrays["bar"] < 0:
            raise ModelFileError("the uncertainty's bar is negative")
        grade = Grade(arrays["grade_projection"], arrays["grade_offset"])
        others: dict[str, Any] = {
            name: arrays[name] for name in ("bar", "exponents", "smallest_force", "heads", "spread")
        }
        return Uncertainty(grade=grade, **others)
