"""Functions of one distance or direction, shared by the descriptors."""
