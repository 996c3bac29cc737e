"""Estimation: objectives, Newton steps on their parameters, results in units of the data."""
