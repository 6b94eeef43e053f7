"""`members_of`, under the name that scripts know; see `jax_models.training.linear.ensemble`."""

from jax_models.training.linear.ensemble import members_of as members_of

__all__ = ["members_of"]
