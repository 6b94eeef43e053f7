"""jaxff: what the molecular-dynamics engines load and what people type."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxff.ase import JaxffCalculator as JaxffCalculator
    from jaxff.features import describe as describe
    from jaxff.monitor import ErrorMonitor as ErrorMonitor

_PLACES = {"JaxffCalculator": "ase", "describe": "features", "ErrorMonitor": "monitor"}
__all__ = ["ErrorMonitor", "JaxffCalculator", "describe"]


def __getattr__(name: str):
    # ase and jax are imported by the first use, not by `import jaxff`.
    if name in _PLACES:
        return getattr(import_module(f"jaxff.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'jaxff' has no attribute {name!r}")
