"""What the parts of a model offer each other. Each registry holds classes that meet one of these interfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jax_models.descriptors.scattering_grid import GridSize
from jax_models.neighborhood import Neighborhood


class Descriptor(Protocol):
    """Environment -> features."""

    @property
    def n_features(self) -> int: ...

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]: ...


class WholeCellDescriptor(Protocol):
    """Whole cell -> features."""

    @property
    def n_features(self) -> int: ...

    @property
    def reach(self) -> float:
        """Å: how much empty space an isolated system needs."""
        ...

    @property
    def spacing(self) -> float:
        """Å between points of the grid, at most."""
        ...

    def grid_for(self, cell: Float[np.ndarray, "3 3"]) -> GridSize: ...

    def __call__(
        self,
        positions: Float[Array, "N 3"],
        cell: Float[Array, "3 3"],
        species: Int[Array, " N"],
        mask: Bool[Array, " N"],
        grid: GridSize,
    ) -> Float[Array, " F"]: ...


class Readout(Protocol):
    """Features -> energy of each centre (eV)."""

    def head(self) -> PyTree[Array]:
        """The parameters that the energy is linear in."""
        ...

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]: ...


class Prior(Protocol):
    """Energy of each centre (eV) that is added before anything is learned."""

    def only(self, rows: tuple[int, ...]) -> Prior:
        """The same for some of the elements, by their places."""
        ...

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, " N"]: ...

    def lengthened(self, neighborhood: Neighborhood) -> Neighborhood:
        """What the learned part of the model sees."""
        ...

    def split(self, neighborhood: Neighborhood) -> tuple[Neighborhood, Float[Array, " N"]]:
        """What the learned part of the model sees, and the energy of each centre (eV)."""
        ...


class ReferencePoints(Protocol):
    """Where environments are looked at from."""

    @property
    def centers(self) -> str: ...

    @property
    def descriptor_cutoff(self) -> float:
        """Å: how far is seen from a point."""
        ...

    def spacing_for(self, descriptor: Any) -> float:
        """Å between the points of a grid; 0 where there is none."""
        ...

    def over_points(
        self, neighborhood: Neighborhood, function: Callable[[Neighborhood, Float[Array, " N"]], Float[Array, "N *F"]]
    ) -> Float[Array, "N *F"]: ...
