"""How a model is trained: every setting, its default, its range and what it does."""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from jax_models.errors import ConfigError


def setting(default: Any, description: str, choices: tuple[str, ...] | None = None, **bounds: float) -> Any:
    """A dataclass field that carries its description and bounds (``ge``, ``gt``, ``le``, ``lt``), or what it may be."""
    return field(default=default, metadata={"description": description, "bounds": bounds, "choices": choices})


METHODS = ("gradient", "linear")


@dataclass(frozen=True)
class Settings:
    """Settings of the trainers.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Settings(epochs=10).learning_rate
        0.005
    """

    method: str | None = setting(
        None,
        "gradient, or linear: least squares for a linear readout. null: linear for whole-cell models, else gradient.",
        choices=METHODS,
    )
    ridge: float | None = setting(
        None,
        "Ridge strength of the linear method, of the largest eigenvalue; null: the one that cross-validates best.",
        ge=0,
    )
    prior: str = setting(
        "ridge",
        "Of the linear method. ridge: all features alike, its strength the one that predicts left-out "
        "structures best. smooth: "
        "grows with radial orders and degrees; all its strengths by the evidence (Bayesian model average).",
        choices=("ridge", "smooth"),
    )
    energy_range: float | None = setting(
        None,
        "Of the linear method: an error so far above the lowest energy, eV/atom, counts half, at twice as far "
        "a third; null: all alike.",
        gt=0,
    )
    seed: int = setting(0, "Seeds the parameters, the validation split and the order of the batches.", ge=0)
    epochs: int | None = setting(
        None, "Passes over the data; null: as many as make `neighbor_visits`, between 20 and 1000.", ge=1
    )
    neighbor_visits: float = setting(
        1e8, "Neighbours seen in all of training when `epochs` is null: fixes the cost whatever the data.", gt=0
    )
    batch_structures: int = setting(
        4, "Structures of average size in a batch; at least 96 atoms, or 1/8 of the data.", ge=1
    )
    learning_rate: float = setting(0.005, "Peak learning rate; falls linearly to zero.", gt=0, lt=1)
    warmup: float = setting(0.02, "Fraction of training in which the learning rate rises.", ge=0, le=0.5)
    energy_weight: float = setting(200.0, "Weight of the mean squared energy error, (eV/atom)^2, at the end.", ge=0)
    early_energy_weight: float = setting(
        100.0, "The same in the first half of training: forces shape the model first.", ge=0
    )
    force_weight: float = setting(1.0, "Weight of the mean squared force error, (eV/Å)^2.", ge=0)
    stress_weight: float = setting(
        10.0, "Weight of the mean squared virial error (stress x volume / atoms), (eV/atom)^2.", ge=0
    )
    density_weight: float = setting(
        10.0,
        "Weight of the mean squared error of densities at grid points (density x volume / atoms), (eV/atom)^2.",
        ge=0,
    )
    average: float = setting(0.99, "Decay per step of the running average of the weights that is kept.", ge=0, lt=1)
    validation_fraction: float = setting(
        0.05,
        "Part of the training data set aside, from each config_type, if no validation data are given.",
        ge=0,
        le=0.5,
    )
    patience: float = setting(
        0.5, "Training stops when the validation loss has not fallen for this fraction of the epochs.", gt=0, le=1
    )
    trunk: str = setting(
        "free",
        "Whether a training that starts from another model changes its trunk, or only its head: free or frozen.",
        choices=("free", "frozen"),
    )

    heads: int = setting(
        8,
        "Heads on the trained trunk, whose spread tells how sure it is; with a grade of extrapolation and an expected "
        "error of each force. 0: nothing of this.",
        ge=0,
    )

    def __post_init__(self):
        if self.heads == 1:
            raise ConfigError("training.heads is 1; a spread needs two or more, 0 means no uncertainty")
        for item in fields(self):
            check_setting("training", item, getattr(self, item.name))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_setting(section: str, item: Field, value: Any) -> None:
    """Raises:
    ConfigError: ``value`` is not within the field's bounds, or not among its choices.
    """
    if value is None:
        return
    choices = item.metadata["choices"]
    if choices is not None and value not in choices:
        or_null = ", or null" if item.default is None else ""
        raise ConfigError(f"{section}.{item.name} is {value!r}; it must be {' or '.join(choices)}{or_null}")
    symbols = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    holds = {"ge": lambda a, b: a >= b, "gt": lambda a, b: a > b, "le": lambda a, b: a <= b, "lt": lambda a, b: a < b}
    bounds = item.metadata["bounds"]
    if not all(holds[name](value, bound) for name, bound in bounds.items()):
        allowed = " and ".join(f"{symbols[name]} {bound}" for name, bound in bounds.items())
        raise ConfigError(f"{section}.{item.name} is {value}; it must be {allowed}")
