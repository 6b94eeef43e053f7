"""Physics added before learning. One file each, one registry line below."""

from jax_models.priors.zbl import ZBL

PRIORS = {"zbl": ZBL}
