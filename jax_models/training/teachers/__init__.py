"""Learning from empirical potentials besides DFT."""
