"""`jaxff distill`: a fast potential for one material from a universal one, and how well it agrees with it."""
