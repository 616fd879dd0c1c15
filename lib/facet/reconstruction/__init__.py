"""Reconstruction: from photographs to a face in 3D, in files and in viewers."""

from facet.reconstruction.crops import predict_with_flip, vertices_of_crops
from facet.reconstruction.detect import Face, FaceNotFoundError, find_face, find_faces
from facet.reconstruction.pipeline import (
    View,
    head_pose,
    reconstruct,
    reconstruct_views,
    surface,
)
from facet.reconstruction.result import Pose, Reconstruction

__all__ = [
    "Face",
    "FaceNotFoundError",
    "Pose",
    "Reconstruction",
    "View",
    "find_face",
    "find_faces",
    "head_pose",
    "predict_with_flip",
    "reconstruct",
    "reconstruct_views",
    "surface",
    "vertices_of_crops",
]
