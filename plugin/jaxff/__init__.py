"""jaxff: what the molecular-dynamics engines load and what people type."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxff.ase import JaxffCalculator as JaxffCalculator
    from jaxff.features import describe as describe

__all__ = ["JaxffCalculator", "describe"]


def __getattr__(name: str):
    # ase and jax are imported by the calculator's first use, not by `import jaxff`.
    if name == "JaxffCalculator":
        from jaxff.ase import JaxffCalculator

        return JaxffCalculator
    if name == "describe":
        from jaxff.features import describe

        return describe
    raise AttributeError(f"module 'jaxff' has no attribute {name!r}")
