"""How the random effects of one factor covary; one file a structure."""
