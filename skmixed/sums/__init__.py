"""Sums over the rows of a design, by cells of levels: what the data say of a model."""
