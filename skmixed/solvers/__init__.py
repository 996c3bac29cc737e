"""Solutions of the mixed-model equations: direct and iterative."""
