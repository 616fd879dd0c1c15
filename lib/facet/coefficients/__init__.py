"""Coefficients: a face model fitted to photographs through a differentiable picture of it."""

from facet.coefficients.losses import CoefficientLoss, Weights
from facet.coefficients.person import Person, full_vertices

__all__ = ["CoefficientLoss", "Person", "Weights", "full_vertices"]
