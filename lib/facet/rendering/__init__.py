"""Rendering: rasteriser, normals, light and texture, in plain PyTorch on the CPU and on CUDA."""

from facet.rendering.fill import push_pull
from facet.rendering.fragments import Candidates, Fragments
from facet.rendering.interpolation import downsample, interpolate, map_from_mesh
from facet.rendering.normals import triangle_normals, vertex_normals
from facet.rendering.rasteriser import rasterise
from facet.rendering.shading import harmonics, random_sh, shade, soft_light, spherical_harmonics
from facet.rendering.texture import Pyramid, footprint_level, pyramid, sample_texture

__all__ = [
    "Candidates",
    "Fragments",
    "Pyramid",
    "downsample",
    "footprint_level",
    "harmonics",
    "interpolate",
    "map_from_mesh",
    "push_pull",
    "pyramid",
    "random_sh",
    "rasterise",
    "sample_texture",
    "shade",
    "soft_light",
    "spherical_harmonics",
    "triangle_normals",
    "vertex_normals",
]
