"""The run of `jaxff active` that a distillation is: what is explored, how far, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jax_models.errors import ConfigError
from jaxff.distill.material import Material

EXPLORATIONS = ("strained", "crystal", "surface", "vacancy", "liquid")
"""What is explored unless less is asked for."""
BAR = 2.5
"""Nine of ten errors of forces are below 2.5 times the RMS error of their components, if these are normal."""
SUPERHEATED, LIQUID = 1.8, 1.3
"""Times the melting point: where a small cell melts within a picosecond, and where the liquid is looked at."""
COMPRESSED, EXTENDED = 0.06, -0.02
"""Pressures, in units of the bulk modulus."""
ERROR = 0.1
"""Force error that is aimed at unless another is asked for, as a part of the root mean square force."""
PICOSECONDS = 5.0
"""Of each run of dynamics."""


def plan(
    material: Material,
    labeller: Mapping[str, Any],
    structures: str,
    out: str,
    *,
    explore: Sequence[str] = (),
    hottest: float | None = None,
    error: float = ERROR,
    atoms: int = 48,
    rounds: int = 6,
    per_round: int = 48,
    visits: float = 1e7,
    workers: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """A run.yaml of `jaxff active` as a dictionary.

    Args:
        material: of the structures.
        labeller: the teacher, as a teacher file describes it.
        structures: file of the starting structures.
        out: folder of the run.
        explore: names out of ``EXPLORATIONS``; none: all of them.
        hottest: K; None: 1.8 times the estimated melting point.
        error: force error to reach, as a part of the root mean square force.
        atoms: of each cell, at least.
        rounds, per_round: of the loop.
        visits: neighbours seen in each training.
        workers: processes.
        seed: of the random numbers.

    Raises:
        ConfigError: an exploration that there is not.
    """
    unknown = [name for name in explore if name not in EXPLORATIONS]
    if unknown:
        raise ConfigError(f"there is no exploration {', '.join(unknown)}; there are {', '.join(EXPLORATIONS)}")
    chosen = [name for name in EXPLORATIONS if not explore or name in explore]
    hot = hottest or SUPERHEATED * material.melting
    liquid = LIQUID / SUPERHEATED * hot
    melting = hot / SUPERHEATED
    steps = max(200, round(1e3 * PICOSECONDS / material.timestep))
    shared = {"atoms": atoms, "timestep": material.timestep, "interval": max(1, round(20.0 / material.timestep))}
    cold = min(300.0, 0.5 * melting)
    pressures = [0.0, *(round(part * material.bulk_modulus, 2) for part in (COMPRESSED, EXTENDED))]
    dynamics: dict[str, list[dict[str, Any]]] = {
        "strained": [{"families": ["strain", "rattle"], "number": 20, "atoms": min(atoms, 32)}],
        "crystal": [{"temperature": [cold, melting, cold], "pressure": pressures, "steps": steps}],
        "surface": [
            {"name": f"surface-{''.join(map(str, face))}", "surface": face, "temperature": [cold, 0.8 * melting]}
            | {"steps": steps // 2}
            for face in ([1, 0, 0], [1, 1, 0], [1, 1, 1])
        ],
        "vacancy": [{"vacancies": 1, "temperature": [cold, melting], "steps": steps // 2}],
        "liquid": [
            {"disordered": True, "temperature": [hot, hot, liquid], "steps": steps},
            {"name": "liquid-free", "temperature": [hot, liquid], "pressure": [0.0], "steps": steps},
        ],
    }
    explorations = [shared | {"name": name} | run for name in chosen for run in dynamics[name]]
    aim = error * BAR * material.force_scale(melting)
    return {
        "out": out,
        "structures": [structures],
        "labeller": dict(labeller),
        "begin": ["strain", "rattle", "disordered"],
        "explore": explorations,
        "goal": {"error": round(aim, 4), "quantile": 0.9, "rounds": rounds, "patience": rounds},
        "select": {"per_round": per_round, "atoms": 8 * atoms},
        "train": {"training.neighbor_visits": visits},
        "engine": {"workers": workers},
        "seed": seed,
    }
