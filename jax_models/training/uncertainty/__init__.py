"""What a trained potential is given to know its errors: see `assess.with_uncertainty`."""

from jax_models.training.uncertainty.assess import with_uncertainty

__all__ = ["with_uncertainty"]
