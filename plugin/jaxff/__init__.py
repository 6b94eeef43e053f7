"""jaxff: what the molecular-dynamics engines load and what people type."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxff.ase import JaxffCalculator as JaxffCalculator

__all__ = ["JaxffCalculator"]


def __getattr__(name: str):
    # ase and jax are imported by the calculator's first use, not by `import jaxff`.
    if name == "JaxffCalculator":
        from jaxff.ase import JaxffCalculator

        return JaxffCalculator
    raise AttributeError(f"module 'jaxff' has no attribute {name!r}")
