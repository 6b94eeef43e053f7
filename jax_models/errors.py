"""What users of jax_models and jaxff can do wrong, one named exception each."""


class JaxffError(Exception):
    """Base of every error caused by input; its text says what was given, what is allowed and what to do."""


class StructureError(JaxffError):
    """A structure cannot be evaluated: non-finite numbers, coincident atoms, an element the model lacks."""


class DatasetError(JaxffError):
    """A data set cannot be used; the text names the file, the frame and the key."""


class ConfigError(JaxffError):
    """A setting is unknown or outside its allowed range."""


class ModelFileError(JaxffError):
    """A .jaxff file is corrupt, too new, or does not reproduce its own check values."""


class TrainingError(JaxffError):
    """Training cannot go on: diverged, or a checkpoint that does not fit."""


class ConvergenceError(JaxffError):
    """A relaxation or a path did not reach the forces asked for."""
