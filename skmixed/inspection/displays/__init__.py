"""Pictures of fitted models, in the manner of scikit-learn's displays; public in `inspection`.

A display holds data. ``from_estimator`` computes them and plots, ``plot`` draws them again.
matplotlib is loaded by ``plot`` alone.
"""
