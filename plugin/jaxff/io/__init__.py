"""Labelled structures from files, whatever their format and however their labels are called."""

from jaxff.io.frames import read_frames
from jaxff.io.labels import Labels, check_asked, label_names, label_of, virial_of
from jaxff.io.recognition import recognised
from jaxff.io.structures import read_labelled_frames, read_structures, read_teacher_frames, structure_of

__all__ = [
    "Labels",
    "check_asked",
    "label_names",
    "label_of",
    "read_frames",
    "read_labelled_frames",
    "read_structures",
    "read_teacher_frames",
    "recognised",
    "structure_of",
    "virial_of",
]
