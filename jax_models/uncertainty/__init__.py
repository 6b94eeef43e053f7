"""How sure a potential is of what it says: the spread of its members, a grade of extrapolation, an expected error."""

from jax_models.uncertainty.grade import Grade
from jax_models.uncertainty.uncertainty import Uncertainty, reach

__all__ = ["Grade", "Uncertainty", "reach"]
