"""What a trained potential is given to know its errors: see `assess.with_uncertainty`."""

from jax_models.training.uncertainty.assess import with_uncertainty
from jax_models.training.uncertainty.joining import joined

__all__ = ["joined", "with_uncertainty"]
