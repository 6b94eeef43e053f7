"""The Python end of pair_style jaxff."""
