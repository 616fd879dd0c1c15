"""Coefficients: a face model fitted to photographs through a differentiable picture of it."""

from facet.coefficients.losses import CoefficientLoss, Weights
from facet.coefficients.renderer import FaceRenderer, full_vertices

__all__ = ["CoefficientLoss", "FaceRenderer", "Weights", "full_vertices"]
