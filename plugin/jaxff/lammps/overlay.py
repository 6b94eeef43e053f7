"""What LAMMPS must be told of a delta model: the pair style that its teacher is."""

from __future__ import annotations

from jax_models.contract import Contract


def overlay_note(contract: Contract, path: str) -> str:
    """A line that says which ``hybrid/overlay`` a delta model needs; empty for other potentials.

    Args:
        contract: of the potential.
        path: of its file.

    Example:
        >>> from jax_models import Contract
        >>> teacher = {"teacher": "sw", "settings": {"pair_style": "sw", "pair_coeff": ["* * Si.sw Si"]}}
        >>> print(overlay_note(Contract(("Si",), 5.0, teacher=teacher), "d.jaxff"))
        WARNING: d.jaxff is a delta model: its energies mean nothing without those of its teacher sw. Use: \
pair_style hybrid/overlay sw jaxff; pair_coeff * * sw Si.sw Si; pair_coeff * * jaxff d.jaxff ...
        >>> overlay_note(Contract(("Si",), 5.0), "si.jaxff")
        ''
    """
    if contract.teacher is None:
        return ""
    settings = contract.teacher.get("settings", {})
    style = settings.get("pair_style")
    note = (
        f"WARNING: {path} is a delta model: its energies mean nothing without those of its teacher "
        f"{contract.teacher['teacher']}. "
    )
    if style is None:
        return note + "Use pair_style hybrid/overlay of the teacher's style and jaxff"
    lines = [f"pair_style hybrid/overlay {style} jaxff"]
    for line in settings["pair_coeff"]:
        first, second, *rest = line.split()
        lines.append(" ".join(["pair_coeff", first, second, style.split()[0], *rest]))
    return note + "Use: " + "; ".join([*lines, f"pair_coeff * * jaxff {path} ..."])
