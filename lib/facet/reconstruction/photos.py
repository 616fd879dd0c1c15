"""Photographs of faces that ship inside Python packages, with points placed on them by hand.

Nothing is downloaded and nothing is copied into this project: each is read from the package that ships it.
Sources and licences are in data/README.md. None of them comes with a side photo of the same person.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Photo:
    """A photograph inside a package.

    Attributes:
        name: how this project calls it.
        package: the package that ships it.
        file: its path inside that package.
        shows: who or what is on it.
        licence: under which it may be used, and who made it.
        box: x0, y0, x1, y1 of the 68 landmarks, placed by eye, good to about 3 % of its size.
        points: {landmark number (iBUG order, from 0): (x, y)}, placed by eye on an enlargement, pixel centres
            at integers; good to about 1 % of the box.
        profile: whether the face is seen from the side.
    """

    name: str
    package: str
    file: str
    shows: str
    licence: str
    box: tuple[float, float, float, float]
    points: dict[int, tuple[float, float]] = field(default_factory=dict)
    profile: bool = False

    def path(self) -> Path:
        """Where the file is.

        Raises:
            FileNotFoundError: the package is not installed, or does not ship it any more.
        """
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        path = Path(next(iter(folders))) / self.file if folders else None
        if path is None or not path.is_file():
            raise FileNotFoundError(f"{self.file} ships with the package {self.package}: install it with pip")
        return path

    def point_errors(self, landmarks: np.ndarray) -> dict[int, float]:
        """{landmark: distance of (68, 2 or 3) landmarks to the placed point, % of sqrt(w·h) of the box}."""
        x0, y0, x1, y1 = self.box
        size = np.sqrt((x1 - x0) * (y1 - y0))
        return {
            number: 100.0 * float(np.hypot(*(np.asarray(landmarks)[number, :2] - place))) / size
            for number, place in self.points.items()
        }

    def load(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        with Image.open(self.path()) as image:
            return np.asarray(image.convert("RGB"))


PHOTOS = {
    photo.name: photo
    for photo in (
        Photo(
            name="astronaut",
            package="skimage",
            file="data/astronaut.png",
            shows="Eileen Collins, NASA astronaut, smiling, frontal",
            licence="public domain, NASA",
            box=(180.0, 87.5, 270.0, 177.0),
            points={
                8: (223.0, 177.0),  # chin
                30: (222.5, 126.0),  # nose tip
                36: (192.0, 100.5),  # outer corner of the right eye
                39: (212.5, 102.5),  # inner corner
                42: (236.0, 104.5),  # inner corner of the left eye
                45: (258.5, 103.5),  # outer corner
                48: (202.5, 139.0),  # corners of the mouth
                54: (245.5, 139.0),
            },
        ),
        Photo(
            name="grace_hopper",
            package="matplotlib",
            file="mpl-data/sample_data/grace_hopper.jpg",
            shows="Grace Hopper, US Navy rear admiral, with glasses and cap, frontal",
            licence="public domain, US Navy",
            box=(181.0, 163.0, 347.0, 331.0),
            points={
                8: (268.0, 331.0),
                30: (267.0, 237.0),
                39: (241.0, 192.0),
                42: (282.0, 190.0),
                48: (229.0, 281.0),
                54: (309.0, 279.0),
            },
        ),
        Photo(
            name="cameraman",
            package="skimage",
            file="data/camera.png",
            shows="a man behind a camera, grey, seen from the side, the nose to the image's right",
            licence="CC0, Lav Varshney",
            box=(198.0, 139.0, 253.5, 196.0),
            points={8: (233.0, 195.5), 30: (253.5, 164.0), 48: (230.5, 180.5)},
            profile=True,
        ),
    )
}


def available() -> list[Photo]:
    """The photographs whose packages are installed."""
    found = []
    for photo in PHOTOS.values():
        try:
            photo.path()
        except FileNotFoundError:
            continue
        found.append(photo)
    return found


def load(name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a photograph by name.

    Raises:
        ValueError: there is none of that name.
        FileNotFoundError: its package is not installed.
    """
    if name not in PHOTOS:
        raise ValueError(f"no photograph is called {name!r}; there are {', '.join(PHOTOS)}")
    return PHOTOS[name].load()
