"""How good is a reconstruction: exact errors, scan-like errors, statistics and the papers' rows.

All percentages are of a named normaliser, all millimetres go through the camera's scale. Only vertices that
the weight mask counts (`model.weight > 0`) are scored; the neck's rim and the lips' membrane are not.
"""

from facet.evaluation.distances import aligned, depth_error, exact_error, landmark_error, nme
from facet.evaluation.icp import IcpError, icp, icp_error, surface_distance
from facet.evaluation.mean_face import MeanFace, MeanFaceTruePose, mean_face_in_crop
from facet.evaluation.normalisers import NORMALISERS, bbox, interocular, landmark_box
from facet.evaluation.papers import reported
from facet.evaluation.protocol import Surface, evaluate, mean_face_rows, position_map_predictor
from facet.evaluation.shape import PersonalShape, edge_profile, measure, midline, personal_shape
from facet.evaluation.smoothness import dihedral_angles, share_under, smoothness_curve
from facet.evaluation.statistics import (
    SUMMARY_COLUMNS,
    TIDY_COLUMNS,
    Ced,
    bin_angle,
    bootstrap,
    ced,
    intervals,
    ratio,
    summarise,
)

__all__ = [
    "NORMALISERS",
    "SUMMARY_COLUMNS",
    "TIDY_COLUMNS",
    "Ced",
    "IcpError",
    "MeanFace",
    "MeanFaceTruePose",
    "PersonalShape",
    "Surface",
    "aligned",
    "bbox",
    "bin_angle",
    "bootstrap",
    "ced",
    "depth_error",
    "dihedral_angles",
    "edge_profile",
    "evaluate",
    "exact_error",
    "icp",
    "icp_error",
    "interocular",
    "intervals",
    "landmark_box",
    "landmark_error",
    "mean_face_in_crop",
    "mean_face_rows",
    "measure",
    "midline",
    "nme",
    "personal_shape",
    "position_map_predictor",
    "ratio",
    "reported",
    "share_under",
    "smoothness_curve",
    "summarise",
    "surface_distance",
]
