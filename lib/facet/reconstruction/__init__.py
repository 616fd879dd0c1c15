"""Reconstruction: from photographs to a face in 3D, in files and in viewers."""

from facet.reconstruction.detect import Face, FaceNotFoundError, find_face, find_faces
from facet.reconstruction.pipeline import View, head_pose, reconstruct, reconstruct_views
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
    "reconstruct",
    "reconstruct_views",
]
