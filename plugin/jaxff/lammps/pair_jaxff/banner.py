"""What LAMMPS prints when a potential is opened."""

from __future__ import annotations

from typing import Any

from jaxff.lammps.pair_jaxff.strategies import Strategy


def banner(path: str, strategy: Strategy, precision: str, device: Any, threads: int) -> str:
    """One line on the potential and where it runs."""
    parts = [
        " ".join(strategy.potential.elements),
        strategy.reach,
        f"{precision} precision",
        f"on {device_name(device)}",
        f"{threads} thread{'s' if threads > 1 else ''} a rank",
        strategy.extent,
        "knows its errors" if strategy.potential.uncertainty is not None else "",
    ]
    return f"pair_style jaxff: {path}: {', '.join(part for part in parts if part)}"


def device_name(device: Any) -> str:
    """E.g. "CPU" or "NVIDIA H200 (gpu 0)"."""
    return "CPU" if device.platform == "cpu" else f"{device.device_kind} ({device.platform} {device.id})"
