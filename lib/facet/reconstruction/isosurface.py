"""From a volume to a mesh: the surface where the probability of being inside is a half, closed."""

import numpy as np


def isosurface(
    volume: np.ndarray, *, level: float = 0.5, smoothing: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes (Lewiner et al. 2003) over a volume that is padded by one empty voxel.

    The padding closes the surface where the face leaves the volume. Along each edge of the lattice the
    surface lies where the values, interpolated linearly, reach the level.

    Args:
        volume: (D, H, W) probabilities, or bool.
        smoothing: standard deviation in voxels of a Gaussian that is applied first (a volume of zeros and
            ones is a staircase without it, as with MATLAB's `smooth3`); 0 is none.

    Returns:
        vertices (N, 3) float32 in voxels, x along columns, y down rows, z along slices; and triangles (F, 3)
        int64, outward in the right-handed model frame.

    Raises:
        ValueError: nothing in the volume reaches the level.
        ImportError: scikit-image is not installed.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise ImportError("a mesh of a volume needs scikit-image: pip install 'facet[report]'") from error
    padded = np.pad(np.asarray(volume, dtype=np.float32), 1)
    if smoothing > 0:
        from scipy.ndimage import gaussian_filter

        padded = gaussian_filter(np.pad(padded, 2), smoothing)
    if not padded.max() > level:
        raise ValueError(f"the volume is empty: none of its values reaches {level:g}")
    places, triangles, _, _ = marching_cubes(padded, level, allow_degenerate=False)
    border = 3 if smoothing > 0 else 1
    vertices = np.ascontiguousarray(places[:, ::-1]) - np.float32(border)
    return vertices.astype(np.float32), np.ascontiguousarray(triangles[:, ::-1]).astype(np.int64)
