"""Errors against slow loops, open3d and closed forms; the protocol on a small made-up face model."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from facet import evaluation, geometry
from facet.evaluation.icp import point_triangle_distance, surface_distance_search


def face_like(count=25):
    """A bumpy half ellipsoid (count², 3) in mm, model frame, outward triangles and UV."""
    axis = torch.linspace(-1, 1, count, dtype=torch.float64)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    x, y = 70 * torch.sin(1.2 * u), -100 * torch.sin(1.2 * v)
    z = (
        60 * torch.cos(1.2 * u) * torch.cos(1.2 * v)
        + 18 * torch.exp(-12 * (u**2 + (v - 0.1) ** 2))
        + 3 * u * v
    )
    index = torch.arange(count * count).view(count, count)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = torch.cat([torch.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return torch.stack((x, y, z), dim=-1).reshape(-1, 3), triangles, torch.stack((u, v), -1).reshape(-1, 2)


@pytest.fixture
def model():
    vertices, triangles, uv = face_like()
    weight = torch.full((len(vertices),), 3.0)
    weight[-25:] = 0  # the neck
    landmarks = torch.linspace(30, 560, 68).long()
    return SimpleNamespace(mean=vertices, triangles=triangles, landmarks=landmarks, weight=weight, uv=uv)


def make_samples(model, count=6, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for i in range(count):
        yaw, pitch = (torch.rand(2, generator=generator) * 60 - 30).tolist()
        shape = model.mean + 2 * torch.randn(model.mean.shape, generator=generator, dtype=torch.float64)
        centre = torch.tensor([[31.0, 30.0]], dtype=torch.float64)
        matrix = geometry.model_to_image(yaw, pitch, 5.0, 0.3, centre)
        vertices = geometry.transform_points(matrix, shape[None])[0]
        images = torch.rand(3, size, size, generator=generator)
        sample = {"images": images, "vertices": vertices, "scale": 0.3, "yaw": yaw, "pitch": pitch}
        samples.append(sample | {"identity": i // 2, "age": 20 + i})
    return samples


def rotation(*degrees):
    return geometry.rotation_matrix(*torch.tensor(degrees, dtype=torch.float64))


def values(frame, metric, normaliser):
    chosen = frame[(frame["metric"] == metric) & (frame["normaliser"] == normaliser)]
    return chosen["value"].to_numpy()


def test_errors_equal_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    predicted, truth = (torch.randn(2, 9, 3, generator=generator) for _ in range(2))
    exact = evaluation.exact_error(predicted, truth, align="none")
    depth = evaluation.depth_error(predicted, truth, align="none")
    for i in range(2):
        for j in range(9):
            difference = predicted[i, j].numpy() - truth[i, j].numpy()
            assert exact[i, j] == pytest.approx(np.sqrt((difference**2).sum()), rel=1e-5)
            assert depth[i, j] == pytest.approx(abs(difference[2]), rel=1e-5)
    sizes = torch.tensor([2.0, 5.0])
    nme = evaluation.nme(exact, sizes)
    assert nme[1] == pytest.approx(sum(exact[1].tolist()) / 9 / 5, rel=1e-5)


def test_similarity_removes_a_similarity_and_nothing_else():
    truth = face_like()[0][None]
    turn = rotation(20.0, -10.0, 5.0)[None]
    moved = geometry.Similarity(torch.tensor([1.3]).double(), turn, torch.tensor([[3.0, -7.0, 9.0]]).double())
    assert evaluation.exact_error(moved.apply(truth), truth).max() < 1e-9
    assert evaluation.exact_error(moved.apply(truth), truth, align="none").mean() > 10
    mirrored = truth * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    assert evaluation.exact_error(mirrored, truth).mean() > 5  # an inside-out face is not right
    with pytest.raises(ValueError, match="rigid"):
        evaluation.exact_error(truth, truth, align="rigid")


def test_depth_is_along_z_only():
    truth = face_like()[0][None]
    sideways = truth + torch.tensor([4.0, -3.0, 0.0], dtype=torch.float64)
    toward = truth + torch.tensor([0.0, 0.0, 2.5], dtype=torch.float64)
    assert evaluation.depth_error(sideways, truth, align="none").max() == 0
    torch.testing.assert_close(
        evaluation.depth_error(toward, truth, align="none"), torch.full((1, truth.shape[1]), 2.5).double()
    )
    assert evaluation.depth_error(toward, truth).max() < 1e-9


def test_normalisers_in_closed_form():
    landmarks = torch.zeros(1, 68, 3)
    landmarks[0, 36] = torch.tensor([10.0, 20.0, 3.0])
    landmarks[0, 45] = torch.tensor([40.0, 20.0, 43.0])
    landmarks[0, 8] = torch.tensor([15.0, 90.0, 500.0])
    assert evaluation.interocular(landmarks).item() == pytest.approx(50)  # 3D: 30 across, 40 deep
    assert evaluation.landmark_box(landmarks).item() == pytest.approx(60)  # sqrt(40 * 90), no depth
    box = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 3.0, 6.0], [1.0, 1.0, 1.0]]])
    assert evaluation.bbox(box).item() == pytest.approx(7)
    with pytest.raises(ValueError, match="positive"):
        evaluation.nme(torch.ones(1, 3), torch.zeros(1))


def test_landmark_error_is_two_dimensional():
    truth = torch.zeros(1, 68, 3)
    predicted = truth + torch.tensor([3.0, 4.0, 100.0])
    assert evaluation.landmark_error(predicted, truth).unique().item() == pytest.approx(5)
    assert evaluation.landmark_error(predicted, truth, dimensions=3).min() > 100
    with pytest.raises(ValueError, match="3 coordinates"):
        evaluation.landmark_error(predicted[..., :2], truth, dimensions=3)


def test_surface_distance_equals_open3d():
    pytest.importorskip("open3d")
    vertices, triangles, _ = face_like()
    generator = torch.Generator().manual_seed(1)
    points = vertices[::3] + 4 * torch.randn(vertices[::3].shape, generator=generator, dtype=torch.float64)
    ours = surface_distance_search(points, vertices, triangles, candidates=40)
    torch.testing.assert_close(
        ours, evaluation.surface_distance(points, vertices, triangles), atol=1e-4, rtol=0
    )
    assert evaluation.surface_distance(vertices, vertices, triangles).max() < 1e-4


def test_point_triangle_distance_equals_a_dense_search():
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    corners = torch.randn(40, 3, 3, generator=generator, dtype=torch.float64)
    a, b = torch.meshgrid(torch.linspace(0, 1, 201), torch.linspace(0, 1, 201), indexing="ij")
    weights = torch.stack((a, b, 1 - a - b), dim=-1)[a + b <= 1].double()  # (M, 3)
    dense = torch.cdist(points[:, None], weights @ corners)[:, 0].amin(dim=1)
    ours = point_triangle_distance(points, corners)
    assert (ours <= dense + 1e-9).all()
    torch.testing.assert_close(ours, dense, atol=0.02, rtol=0)


@pytest.mark.parametrize("scale", [True, False])
def test_icp_equals_open3d(scale):
    open3d = pytest.importorskip("open3d")
    target, _, _ = face_like()
    generator = torch.Generator().manual_seed(3)
    turned = target[::2] @ rotation(8.0, -5.0, 4.0).mT * (0.9 if scale else 1.0)
    source = turned + torch.tensor([4.0, -3.0, 5.0]) + 0.3 * torch.randn(turned.shape, generator=generator)
    clouds = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(p.numpy())) for p in (source, target)]
    registration = open3d.pipelines.registration
    theirs = registration.registration_icp(
        *clouds,
        1e6,
        np.eye(4),
        registration.TransformationEstimationPointToPoint(with_scaling=scale),
        registration.ICPConvergenceCriteria(relative_fitness=0, relative_rmse=0, max_iteration=10),
    ).transformation
    ours = evaluation.icp(source, target, iterations=10, scale=scale).matrix()[0]
    np.testing.assert_allclose(ours.numpy(), theirs[:3], atol=1e-6)


def test_icp_error_finds_the_same_surface_with_other_vertices():
    truth, triangles, _ = face_like(41)
    coarse, coarse_triangles, _ = face_like(25)
    marks = {"predicted_landmarks": coarse[[40, 60, 312, 500, 580]], "true_landmarks": None}
    with pytest.raises(ValueError, match="both"):
        evaluation.icp_error(
            coarse, truth, predicted_triangles=coarse_triangles, true_triangles=triangles, **marks
        )
    marks["true_landmarks"] = marks["predicted_landmarks"] + 1.0
    turned = rotation(25.0, 10.0, -15.0)
    start = coarse @ turned.mT * 0.5 + 20
    marks["predicted_landmarks"] = marks["predicted_landmarks"] @ turned.mT * 0.5 + 20
    found = evaluation.icp_error(
        start, truth, predicted_triangles=coarse_triangles, true_triangles=triangles, **marks
    )
    assert found.forward.shape == (625,)
    assert found.backward.shape == (1681,)
    assert found.forward.mean() < 0.3
    assert found.backward.mean() < 0.5
    assert found.alignment.scale.item() == pytest.approx(2, rel=0.01)


def test_icp_of_noise_does_not_shrink_to_a_point():
    target, _, _ = face_like()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = geometry.similarity(noise[None, :68], target[None, :68])
    assert torch.equal(evaluation.icp(noise, target, start).scale, start.scale)


def test_icp_flatters_the_exact_error(model):
    frame = evaluation.evaluate(
        evaluation.MeanFaceTruePose(model), make_samples(model, 2), model, test_set="tiny", icp=True
    )
    assert (values(frame, "icp", "mm") < values(frame, "exact", "mm")).all()


def test_ced_and_its_area():
    curve = evaluation.ced([3.0, 1.0, 2.0, 10.0])
    assert curve.thresholds.tolist() == [1, 2, 3, 10]
    assert curve.share.tolist() == [0.25, 0.5, 0.75, 1]
    assert (curve.at(0.9), curve.at(2.0), curve.at(9.0), curve.at(10.0)) == (0, 0.5, 0.75, 1)
    grid = np.linspace(0, 4, 400_001)
    numeric = np.mean([(grid >= v) for v in (1, 2, 3, 10)])
    assert curve.area(4.0) == pytest.approx(numeric, abs=1e-4)
    with pytest.raises(ValueError, match="finite"):
        evaluation.ced([1.0, np.nan])


def test_bootstrap_draws_people_not_samples():
    generator = torch.Generator().manual_seed(4)
    people = torch.randn(60, generator=generator).double().numpy()
    identities = np.repeat(np.arange(60), 9)
    low, high = evaluation.bootstrap(
        np.repeat(people, 9), identities, generator=torch.Generator().manual_seed(0)
    )
    error = people.std(ddof=1) / np.sqrt(60)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)  # nine copies tell nothing new
    assert low < people.mean() < high
    again = evaluation.bootstrap(np.repeat(people, 9), identities, generator=torch.Generator().manual_seed(0))
    assert (low, high) == again


def test_summary_equals_pandas_and_has_the_agreed_columns(model):
    frame = evaluation.mean_face_rows(make_samples(model), model, test_set="tiny")
    table = evaluation.summarise(frame, profile="smoke", seed=0, device="cpu")
    assert list(table.columns) == [
        *(
            "model",
            "variant",
            "test_set",
            "metric",
            "normaliser",
            "yaw",
            "pitch",
            "profile",
            "seed",
            "device",
        ),
        *("samples", "mean", "median", "std", "p90", "n", "source"),
    ]
    assert set(table["source"]) == {"facet"}
    theirs = frame.groupby(["model", "metric", "normaliser"])["value"]
    ranks, theirs = theirs.quantile(0.9), theirs.agg(["mean", "median", "std", "count"])
    for row in table.itertuples():
        measure = (row.model, row.metric, row.normaliser)
        np.testing.assert_allclose((row.mean, row.median, row.std, row.n), theirs.loc[measure].to_numpy())
        assert row.p90 == pytest.approx(ranks.loc[measure])
    binned = evaluation.summarise(
        evaluation.bin_angle(frame, (-20, 0, 20)), profile="smoke", seed=0, device="cpu", by=("yaw",)
    )
    assert set(binned["yaw"]) <= {-20.0, 0.0, 20.0}
    assert binned["n"].sum() == len(frame)
    spans = evaluation.intervals(frame, draws=200)
    assert (spans["low"] <= spans["mean"]).all()
    assert set(spans["identities"]) == {3}


def test_angles_go_to_the_nearest_centre():
    """To one side of the middle between two centres and to the other, and beyond the outermost."""
    angles = [-90.0, -10.1, -9.9, 0.0, 14.9, 15.1, 60.0]
    frame = pd.DataFrame({"yaw": angles, "pitch": angles[::-1], "value": range(7)})
    binned = evaluation.bin_angle(frame, (30, -20, 0))
    assert binned["yaw"].tolist() == [-20, -20, 0, 0, 0, 30, 30]
    assert binned[["pitch", "value"]].equals(frame[["pitch", "value"]])
    assert evaluation.bin_angle(frame, (30, -20, 0), column="pitch")["pitch"].tolist()[:3] == [30, 30, 0]
    assert frame["yaw"].tolist() == angles


def test_mean_face_is_placed_by_the_crop(model):
    for size in (64, 256):
        face = evaluation.mean_face_in_crop(model, size)
        landmarks = face[model.landmarks, :2]
        low, high = landmarks.amin(0), landmarks.amax(0)
        torch.testing.assert_close((low + high) / 2, torch.full((2,), (size - 1) / 2).double())
        assert ((high - low).mean() * 1.5).item() == pytest.approx(size - 1)
        assert face[:, 2].min() == 0
        # Frontal, upright, not mirrored: the subject's left is the image's right, up is smaller y.
        assert torch.corrcoef(torch.stack((face[:, 0], model.mean[:, 0])))[0, 1] > 0.999
        assert torch.corrcoef(torch.stack((face[:, 1], model.mean[:, 1])))[0, 1] < -0.999
        assert torch.corrcoef(torch.stack((face[:, 2], model.mean[:, 2])))[0, 1] > 0.999


def test_true_pose_is_perfect_for_the_mean_face(model):
    samples = make_samples(model, 2)
    for sample in samples:
        matrix = geometry.model_to_image(
            sample["yaw"], sample["pitch"], 5.0, 0.3, torch.full((1, 2), 30.0).double()
        )
        sample["vertices"] = geometry.transform_points(matrix, model.mean[None])[0]
    frame = evaluation.mean_face_rows(samples, model, test_set="tiny")
    best = frame[frame["model"] == "mean-face-true-pose"]
    assert best["value"].max() < 1e-9
    blind = frame[frame["model"] == "mean-face"]
    assert values(blind, "exact", "mm").max() < 1e-9
    assert values(blind, "exact-unaligned", "mm").min() > 1


def test_protocol_counts_only_weighted_vertices(model):
    samples = make_samples(model)

    def offset(by, where):
        truth = torch.stack([s["vertices"] for s in samples])
        truth[:, where] += torch.tensor(by, dtype=torch.float64)
        stream = iter(truth)
        return lambda images: torch.stack([next(stream) for _ in images])

    options = {"name": "prn", "test_set": "tiny", "batch": 4, "keep": ("age",)}
    neck = evaluation.evaluate(offset([9.0, 9.0, 9.0], model.weight == 0), samples, model, **options)
    assert neck["value"].max() < 1e-9
    everything = evaluation.evaluate(offset([0.3, 0.4, 1.2], slice(None)), samples, model, **options)
    np.testing.assert_allclose(values(everything, "exact-unaligned", "mm"), 1.3 / 0.3)
    np.testing.assert_allclose(values(everything, "depth-unaligned", "mm"), 1.2 / 0.3)
    truth = samples[4]["vertices"]
    marks, face = truth[model.landmarks], truth[model.weight > 0]
    sides = marks[:, :2].amax(0) - marks[:, :2].amin(0)
    assert values(everything, "landmarks", "landmark-box")[4] == pytest.approx(
        50 / sides.prod().sqrt().item()
    )
    diagonal = (face.amax(0) - face.amin(0)).norm().item()
    assert values(everything, "exact-unaligned", "bbox")[4] == pytest.approx(130 / diagonal)
    assert values(everything, "exact", "mm").max() < 1e-9
    assert list(everything.columns[:9]) == evaluation.TIDY_COLUMNS
    assert everything.groupby("sample")["age"].first().tolist() == [20, 21, 22, 23, 24, 25]


def test_protocol_errors(model):
    with pytest.raises(ValueError, match="no samples"):
        evaluation.evaluate(lambda images: images, [], model, name="prn", test_set="empty")
    with pytest.raises(ValueError, match="name"):
        evaluation.evaluate(lambda images: images, [], model, test_set="empty")
    with pytest.raises(ValueError, match="differ"):
        evaluation.evaluate(lambda images: images, make_samples(model), model, name="prn", test_set="tiny")


def test_reported_rows_are_the_papers():
    rows = evaluation.reported()
    assert list(rows.columns) == evaluation.SUMMARY_COLUMNS
    assert not (rows["source"] == "facet").any()
    assert (rows["profile"] == "paper").all()

    def one(**keys):
        chosen = rows[np.logical_and.reduce([rows[k] == v for k, v in keys.items()])]
        assert len(chosen) == 1
        return chosen["mean"].iloc[0], chosen["normaliser"].iloc[0]

    assert one(model="twoview", variant="synthetic, then 300W-LP") == (0.74, "bbox")
    assert one(model="vrn-guided", test_set="BU-4DFE") == (5.55, "interocular")
    assert one(model="residual", variant="") == (3.912, "not stated")
    assert pd.isna(rows["std"]).all()
