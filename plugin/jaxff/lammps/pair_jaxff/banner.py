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
    ]
    return f"pair_style jaxff: {path}: {', '.join(part for part in parts if part)}"


def overlay_line(path: str, elements: tuple[str, ...], delta: dict[str, Any] | None) -> str:
    """What a delta model says of the ``hybrid/overlay`` it needs; empty for a potential that stands alone.

    Args:
        delta: the name of the ``teacher``, and its ``settings`` where the file has them.

    Example:
        >>> overlay_line("d.jaxff", ("Si",), {"teacher": "sw"})
        'is a correction to its teacher sw; add the two: pair_style hybrid/overlay <the style of sw> jaxff'
    """
    if not delta:
        return ""
    settings = delta.get("settings") or {}
    text = f"is a correction to its teacher {delta['teacher']}; add the two:"
    if "pair_style" not in settings:
        return f"{text} pair_style hybrid/overlay <the style of {delta['teacher']}> jaxff"
    style = settings["pair_style"].split()[0]
    lines = [f"pair_style hybrid/overlay {settings['pair_style']} jaxff"]
    for coefficients in settings["pair_coeff"]:
        i, j, *others = coefficients.split()
        lines.append(" ".join(["pair_coeff", i, j, style, *others]))
    lines.append(f"pair_coeff * * jaxff {path} {' '.join(elements)}")
    return "\n    ".join([text, *lines, *settings.get("commands", [])])


def device_name(device: Any) -> str:
    """E.g. "CPU" or "NVIDIA H200 (gpu 0)"."""
    return "CPU" if device.platform == "cpu" else f"{device.device_kind} ({device.platform} {device.id})"
