"""What LAMMPS must be told of a delta model: the pair style that its teacher is."""

from __future__ import annotations

from jax_models.contract import Contract


def overlay_line(path: str, contract: Contract) -> str:
    """What a delta model says of the ``hybrid/overlay`` it needs; empty for a potential that stands alone.

    Args:
        path: of the potential's file.
        contract: whose ``teacher`` has a name, and ``settings`` where the file has them.

    Example:
        >>> overlay_line("d.jaxff", Contract(("Si",), 5.0, teacher={"teacher": "sw"}))
        'is a correction to its teacher sw; add the two: pair_style hybrid/overlay <the style of sw> jaxff'
    """
    delta = contract.teacher
    if delta is None:
        return ""
    settings = delta.get("settings") or {}
    text = f"is a correction to its teacher {delta['teacher']}; add the two:"
    if "pair_style" not in settings:
        return f"{text} pair_style hybrid/overlay <the style of {delta['teacher']}> jaxff"
    style, *arguments = settings["pair_style"].split()
    # A teacher that is a hybrid itself names its styles already.
    named = style.startswith("hybrid")
    parts = arguments if named else [style, *arguments]
    lines = [" ".join(["pair_style hybrid/overlay", *parts, "jaxff"])]
    for coefficients in settings["pair_coeff"]:
        i, j, *others = coefficients.split()
        lines.append(" ".join(["pair_coeff", i, j, *([] if named else [style]), *others]))
    lines.append(f"pair_coeff * * jaxff {path} {' '.join(contract.elements)}")
    return "\n    ".join([text, *lines, *settings.get("commands", [])])


def print_overlay(path: str, contract: Contract) -> None:
    """Say it where LAMMPS has no log for it."""
    line = overlay_line(path, contract)
    if line:
        print(f"WARNING: {path} {line}", flush=True)
