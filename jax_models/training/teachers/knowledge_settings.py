"""How teachers' labels are used: every setting, its default, its range and what it does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from jax_models.errors import ConfigError
from jax_models.training.settings import check_setting, setting

STRATEGIES = ("none", "weak", "transfer", "both", "delta")


@dataclass(frozen=True)
class Knowledge:
    """Settings of the strategies that learn from teachers (docs/knowledge.md).

    Raises:
        ConfigError: a value outside its range, or none of those allowed.

    Example:
        >>> Knowledge("weak").weight
        (0.0, 0.1, 1.0)
    """

    strategy: str = setting("none", "none, weak, transfer, both (transfer, then weak), or delta.", choices=STRATEGIES)
    teachers: tuple[str, ...] | None = setting(None, "Names of the teachers that count; null: all in the files.")
    forces: bool = setting(True, "Whether teachers' forces and stresses count, beside their energies.")
    choice: str = setting(
        "structure",
        "What a teacher is chosen for: a structure, or each environment (by forces).",
        choices=("structure", "environment"),
    )
    weight: tuple[float, ...] = setting(
        (0.0, 0.1, 1.0),
        "Weight of the teachers' labels beside DFT's in weak supervision; of several the best in validation is taken.",
    )
    fade: bool = setting(
        True,
        "Whether that weight falls to zero in the first half of the training, so that DFT has the last word; "
        "the paper's stays.",
    )
    classifier_weight: float = setting(0.001, "Weight of the classifier's cross-entropy.", ge=0)
    none_above: float = setting(
        0.05,
        "No teacher is right about a structure if the best is off by more, or one's expected error is larger, eV/atom.",
        gt=0,
    )
    none_above_force: float = setting(1.0, "The same for an environment, eV/Å.", gt=0)
    scale: bool = setting(
        True,
        "Whether teachers' energies and forces are multiplied to come closest to DFT's energies, beside their "
        "zero, in weak supervision.",
    )
    largest: float = setting(200.0, "A teacher's energy that is further off than this, eV/atom, is no label.", gt=0)
    pretraining: float = setting(1.0, "Length of the pretraining on teachers, in units of the training's.", gt=0)
    head: str = setting(
        "best", "Head that fine-tuning starts from: that of the best teacher, or a new one.", choices=("best", "new")
    )
    teacher: str | None = setting(None, "Teacher that a delta model corrects; null: the one closest to DFT.")

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("teachers", "weight"):
                check_setting("knowledge", item, value)
        if not self.weight or not all(0 <= w <= 1000 for w in self.weight):
            raise ConfigError(
                f"knowledge.weight is {list(self.weight)}; it must list one or more numbers between 0 and 1000"
            )

    @property
    def weak(self) -> bool:
        return self.strategy in ("weak", "both")

    @property
    def transfer(self) -> bool:
        return self.strategy in ("transfer", "both")

    def to_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
