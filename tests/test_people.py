"""The people bank: statistics of the draws, modes against a plain SVD, skins, and the build's own bytes."""

import os

import numpy as np
import pytest
import torch

from facet.face_model import basis, people, skins
from facet.face_model import files as cache

LABELS = [
    "head-age-incr",
    "nose-hump-incr",
    "l-ear-wing-incr",
    "r-ear-wing-incr",
    "l-eye-scale-incr",
    "r-eye-scale-incr",
]


@pytest.fixture(scope="module")
def bank():
    from safetensors.torch import load_file

    return {k: v.float() for k, v in load_file(cache.ensure().people).items()}


def test_draws(generator):
    group = people.draw(generator, 4000, LABELS)
    assert group.years.min() > 18
    assert group.years.max() < 80
    assert group.years.mean() == pytest.approx(49, abs=1)
    assert (group.gender > 0.5).double().mean() == pytest.approx(0.5, abs=0.03)
    assert ((group.gender < 0.31) | (group.gender > 0.69)).all()
    torch.testing.assert_close(group.ancestry.sum(dim=1), torch.ones(4000, dtype=torch.float64))
    counts = torch.bincount(group.ancestry.argmax(dim=1)) / 4000
    assert (counts - 1 / 3).abs().max() < 0.03
    assert group.local.abs().max() <= 1
    assert torch.corrcoef(torch.stack([group.years, group.local[:, 0]]))[0, 1] > 0.7


def test_left_and_right_agree_but_for_a_little(generator):
    local = people.draw(generator, 4000, LABELS).local
    assert (local[:, 4] - local[:, 5]).std() == pytest.approx(2**0.5 * people.ASYMMETRY, rel=0.1)
    assert local[:, 4].std() == pytest.approx(people.LOCAL_SPREAD, rel=0.1)
    assert local[:, 2].std() < 0.6 * local[:, 4].std()  # ears are damped
    assert torch.corrcoef(local[:, [4, 5]].T)[0, 1] > 0.9
    assert abs(torch.corrcoef(local[:, [1, 4]].T)[0, 1]) < 0.06


def test_skins_match_people(generator):
    group = people.draw(generator, 300, LABELS)
    names = [
        f"{a}_{c}_{g}"
        for a in ("young", "middleage", "old")
        for c in people.ANCESTRIES
        for g in ("female", "male")
    ]
    chosen = [names[k] for k in people.choose_skin(generator, group, names).tolist()]
    for name, years, gender, ancestry in zip(
        chosen,
        group.years.tolist(),
        group.gender.tolist(),
        group.ancestry.argmax(dim=1).tolist(),
        strict=True,
    ):
        age, kind, sex = name.split("_")
        assert age == ("young" if years < 38 else "middleage" if years < 58 else "old")
        assert kind == people.ANCESTRIES[ancestry]
        assert sex == ("female" if gender > 0.5 else "male")


def test_missing_skins_fall_back_to_the_same_ancestry(generator):
    group = people.draw(generator, 60, LABELS)
    names = ["old_asian_male", "young_caucasian_female2", "young_african_male"]
    chosen = people.choose_skin(generator, group, names).tolist()
    assert [names[k].split("_")[1] for k in chosen] == [
        people.ANCESTRIES[k] for k in group.ancestry.argmax(dim=1).tolist()
    ]


def test_principal_modes_are_the_svd_of_the_heads(rng):
    """The modes of explicit heads, weighted by vertex, by numpy's SVD."""
    coefficients = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 1
    shapes, weight = rng.normal(size=(5, 12, 3)), rng.uniform(0.2, 2, 12)
    mean, modes, projection, share = basis.principal_modes(
        *map(torch.from_numpy, (coefficients, shapes, weight)), 4
    )
    heads = np.einsum("nk,kvc->nvc", coefficients - coefficients.mean(axis=0), shapes)
    root = np.sqrt(weight)[None, :, None]
    _, spread, right = np.linalg.svd((heads * root).reshape(400, -1) / np.sqrt(399), full_matrices=False)
    np.testing.assert_allclose(share, (spread**2 / (spread**2).sum())[:4], rtol=1e-9)
    for mode, size, direction in zip(modes.numpy(), spread, right, strict=False):
        expected = size * direction.reshape(12, 3) / root[0]
        np.testing.assert_allclose(mode, expected * np.sign((mode * expected).sum()), atol=1e-9)
        assert mode.ravel()[np.abs(mode).argmax()] > 0
    alpha = (coefficients - mean.numpy()) @ projection.numpy()
    np.testing.assert_allclose(np.cov(alpha.T), np.eye(4), atol=1e-9)
    everything = basis.principal_modes(*map(torch.from_numpy, (coefficients, shapes, weight)), 5)
    alpha = (coefficients - mean.numpy()) @ everything[2].numpy()
    np.testing.assert_allclose(np.einsum("nk,kvc->nvc", alpha, everything[1].numpy()), heads, atol=1e-8)


@pytest.mark.assets
def test_bank_is_standard(bank):
    """Training people in the model's own coordinates: zero mean, unit variance, uncorrelated."""
    alpha = bank["train.alpha_id"]
    assert alpha.shape == (20_000, 100)
    assert alpha.mean(dim=0).abs().max() < 2e-3
    torch.testing.assert_close(torch.cov(alpha.T), torch.eye(100), atol=5e-3, rtol=0)
    assert alpha.abs().max() < 10


@pytest.mark.assets
def test_held_out_people_keep_their_detail(bank):
    from facet import face_model

    model = face_model.load()
    for split, count in (("validation", 300), ("test", 250)):
        alpha = bank[f"{split}.alpha_id"]
        assert alpha.shape == (count, model.detail_modes)
        assert model.detail_modes > model.identity_modes
        some = alpha[:20]
        detail = (model.blend(some) - model.blend(some[:, : model.identity_modes])).norm(dim=2)
        assert 0.05 < detail.mean() < 1  # mm that a network restricted to the modes could not reach
        assert alpha.std() == pytest.approx(1, abs=0.15)


@pytest.mark.assets
def test_splits_share_nobody_and_some_skins_are_held_out(bank):
    from safetensors import safe_open

    from facet.face_model.skins import HELD_OUT

    groups = {
        s: bank[f"{s}.years"].double() + bank[f"{s}.alpha_id"][:, 0] for s in ("train", "validation", "test")
    }
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        pairs = torch.cat([bank[f"{s}.alpha_id"][:, :20] for s in (one, other)])
        assert len(pairs.unique(dim=0)) == len(groups[one]) + len(groups[other])
    with safe_open(cache.ensure().skins, "pt") as handle:
        names = cache.read_notes(handle)["names"].split("\n")
    held = {names.index(n) for n in HELD_OUT if n in names}
    used = {s: set(bank[f"{s}.skin"].long().tolist()) for s in groups}
    assert not used["train"] & held
    assert not used["validation"] & held
    assert held <= used["test"]  # the test set has both kinds


@pytest.mark.assets
def test_skins_decode_and_vary():
    from facet import face_model
    from facet.face_model.albedo import albedo_modes

    modes = albedo_modes(face_model.load())
    count = len(modes.names)
    assert 1 < len(modes.modes) < count
    assert modes.share.sum() == pytest.approx(1, abs=1e-4)
    assert (modes.mean[modes.skin].amax(dim=1) > 0.2).float().mean() > 0.95  # no place between the islands
    assert (modes.modes[:, ~modes.skin] == 0).all()
    back = modes.blend(modes.coordinates)
    assert back.min() > -0.05
    assert back.max() < 1.05
    torch.testing.assert_close(torch.cov(modes.coordinates.T), torch.eye(len(modes.modes)), atol=1e-3, rtol=0)
    dark, light = (modes.names.index(n) for n in ("young_african_male", "young_caucasian_male"))
    assert modes.coordinates[dark, 0] < modes.coordinates[light, 0]


def test_jpeg_round_trip():
    picture = np.zeros((skins.SIZE, skins.SIZE, 3), np.uint8)
    picture[: skins.SIZE // 2] = (200, 100, 50)
    blob = skins._jpeg(picture)
    tensors = (
        torch.frombuffer(bytearray(blob * 2), dtype=torch.uint8),
        torch.tensor([0, len(blob), 2 * len(blob)]),
    )
    decoded = skins.decode(*tensors)
    assert decoded.shape == (2, 3, skins.SIZE, skins.SIZE)
    torch.testing.assert_close(decoded[1, :, 10, 10], torch.tensor([200, 100, 50]) / 255, atol=0.02, rtol=0)


@pytest.mark.assets
@pytest.mark.slow
def test_coefficients_are_annys():
    """Our linear basis gives the heads that `anny` itself gives for the same people."""
    pytest.importorskip("anny")
    from scipy.spatial import cKDTree

    from facet.face_model import anny_source

    source = anny_source.load_source()
    group = people.draw(torch.Generator().manual_seed(3), 4, source.local_names)
    half = torch.full((4,), 0.5, dtype=torch.float64)
    age = source.distribution.morphological_age_mapping.morphological_to_anny_age(group.years)
    phenotype = dict.fromkeys(source.model.phenotype_labels, half) | {"age": age, "gender": group.gender}
    phenotype |= dict(zip(("muscle", "weight", "height", "proportions"), group.build.T, strict=True))
    phenotype |= dict(zip(people.ANCESTRIES, group.ancestry.T, strict=True))
    local = {name: group.local[:, i] for i, name in enumerate(source.local_names)}
    theirs = source.model(phenotype_kwargs=phenotype, local_changes_kwargs=local)["rest_vertices"]
    theirs = torch.stack([theirs[..., 0], theirs[..., 2], -theirs[..., 1]], dim=-1) * 1000
    theirs = theirs - torch.tensor(anny_source.MIDDLE, dtype=theirs.dtype)
    ours = source.template + torch.einsum("nk,kvc->nvc", source.coefficients(group), source.basis)
    for one, other in zip(ours.numpy(), theirs.numpy(), strict=True):
        assert cKDTree(other).query(one)[0].max() < 1e-6
    assert (ours[0] - ours[1]).norm(dim=1).mean() > 1


@pytest.mark.assets
@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("FACET_SLOW"), reason="builds the face model (a minute): set FACET_SLOW=1"
)
def test_a_new_build_has_the_same_bytes(tmp_path, monkeypatch):
    """Byte-identical on one machine type: against the files that another process built."""
    from facet.face_model import build

    before = [path.read_bytes() for path in cache.ensure()]
    monkeypatch.setenv("ANNY_CACHE_DIR", str(cache.paths.CACHE / "anny"))
    monkeypatch.setattr(cache.paths, "CACHE", tmp_path)
    build.build(say=lambda *_, **__: None)
    assert [path.read_bytes() for path in cache.where()] == before
