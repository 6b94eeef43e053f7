"""What `jaxff report` does: one page about a potential, from measurements to HTML."""
