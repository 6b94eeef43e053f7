"""Training by least squares: models that are linear in their parameters, and which parameters they need."""
