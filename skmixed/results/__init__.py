"""Answers of a fit without fitting again: predictions, degrees of freedom, checks."""
