"""Mixed-effects models as scikit-learn estimators."""
