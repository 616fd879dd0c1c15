"""The face model: one limit surface, its linear shapes, the face patch and its position maps."""

from facet.face_model.model import PARTS, FaceModel, load
from facet.face_model.position_map import (
    UVSampler,
    node_lookup,
    sampler,
    sampler_at,
    texel_lookup,
    vertices_from_map,
)
from facet.landmarks68 import FLIP as LANDMARK_FLIP

__all__ = [
    "LANDMARK_FLIP",
    "PARTS",
    "FaceModel",
    "UVSampler",
    "load",
    "node_lookup",
    "sampler",
    "sampler_at",
    "texel_lookup",
    "vertices_from_map",
]
