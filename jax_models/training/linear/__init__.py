"""Training by least squares: models that are linear in their parameters, and which parameters they need."""

from typing import Any


def __getattr__(name: str) -> Any:
    # On first use: the trainer imports this package's other modules.
    if name == "train_linear":
        from jax_models.training.linear.linear_trainer import train_linear

        return train_linear
    raise AttributeError(f"module 'jax_models.training.linear' has no attribute {name!r}")
