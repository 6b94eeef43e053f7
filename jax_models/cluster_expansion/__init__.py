"""The atomic cluster expansion as pacemaker fits it: lists of products of densities, embedded (see `pace`)."""
