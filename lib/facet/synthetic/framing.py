"""A crop that follows a face which was changed: it frames the new face as it framed the old one."""

from dataclasses import replace

import torch

from facet.crop import Box, crop_box
from facet.face_model import FaceModel
from facet.synthetic.subjects import Subjects, Views


def framed_as(model: FaceModel, old: Subjects, new: Subjects, before: Views, after: Views) -> Views:
    """Views `after` of the new faces, cropped to frame these as `before` framed the old faces.

    Size and place of the 68 landmarks' box stay what they were in the crop, jitter included.
    """
    was, now = landmark_square(model, old, before), landmark_square(model, new, after)
    scale = was.size / now.size
    shift = was.centre - scale[:, None] * now.centre
    matrix = torch.cat([scale[:, None, None] * torch.eye(2), shift[:, :, None]], dim=2)
    camera = after.camera().moved(matrix)
    return replace(after, scale=camera.scale, centre=camera.centre)


def landmark_square(model: FaceModel, subjects: Subjects, views: Views) -> Box:
    """The square around the landmarks of views, pixels of their crops."""
    return crop_box(landmarks_of(model, subjects, views))


def landmarks_of(model: FaceModel, subjects: Subjects, views: Views, shift: float = 0.0) -> torch.Tensor:
    """(M, 68, 3) where the landmarks of views project, hidden or not; pixels of the crops, moved by `shift`.

    z is 0 in the plane of the head's origin.
    """
    chosen = subjects.rows(views.subject)
    marks = model.blend(chosen.alpha_id, chosen.alpha_exp)[:, model.landmarks]
    return views.project(marks, shift)[0]
