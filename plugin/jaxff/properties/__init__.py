"""Properties computed from a potential: elastic constants, barriers."""
