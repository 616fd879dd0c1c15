"""Residual: layers and counts, two stages and three, starting from PRN, the frozen stage, its losses."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facet import face_model
from facet.landmarks68 import FLIP
from facet.networks import build, layers_table, macs, parameters, predict
from facet.studies import residual as studies
from facet.training import History, PositionLoss, Recipe, Settings, Task, fit, obtain, recipes, seams, starts
from facet.training.geometry_losses import PAIRS, StageLoss, landmark_symmetry, map_roughness
from facet.training.obtain import begun, training_folder
from facet.training.weights import configuration_hash, save_weights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(name="residual", seed=0, **options):
    network = build(name, image_size=32, width=0.1, seed=seed, **options)
    draws = generator(seed)
    for layer in network.modules():  # as if trained: statistics that matter
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(0.1 * torch.randn(layer.num_features, generator=draws))
            layer.running_var.copy_(0.5 + torch.rand(layer.num_features, generator=draws))
    return network.eval()


def photos(count=2, size=32):
    return torch.rand(count, 3, size, size, generator=generator(5))


def test_layers_of_the_thesis():
    network, prn = (build(name, image_size=256, width=1.0).to("meta") for name in ("residual", "prn"))
    # 3x3: 6 -> 64, sixteen of 64 -> 64, 64 -> 256; 1x1: 256 -> 3; each with a bias
    second = 64 * (6 * 9 + 1) + 16 * 64 * (64 * 9 + 1) + 256 * (64 * 9 + 1) + 3 * (256 + 1)
    assert parameters(network) == parameters(prn) + second == 14_096_469
    work = 256**2 * (64 * 6 * 9 + 16 * 64 * 64 * 9 + 256 * 64 * 9 + 3 * 256)
    assert macs(network) == macs(prn) + work == 52_724_498_432
    rows = [row for row in layers_table(network) if row["part"] == "stage 2"]
    assert [(row["repeats"], row["output"]) for row in rows] == [
        (1, "256x256x64"), (8, "256x256x64"), (1, "256x256x256"), (1, "256x256x3"),
    ]  # fmt: skip


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
@pytest.mark.parametrize("join", ["output", "logit"])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_each_stage_adds_to_what_came_before(squash, join, stages):
    network = small(squash=squash, join=join, stages=stages)
    draws = generator(1)
    for refine in network.refinements:
        refine[-1].weight.data.copy_(0.1 * torch.randn(refine[-1].weight.shape, generator=draws))
    act = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}[squash]
    with torch.no_grad():
        found = network.run(photos())
        logit = network.decoder(network.encoder(photos()))
        expected = act(logit)
        for brief, delta, refine in zip(found.briefs, found.deltas, network.refinements, strict=True):
            torch.testing.assert_close(brief, expected)
            torch.testing.assert_close(delta, refine(torch.cat((photos(), brief), dim=1)))
            logit = (brief if join == "output" else logit) + delta
            expected = act(logit)
        torch.testing.assert_close(found.output, expected)
        assert len(found.briefs) == stages - 1
        torch.testing.assert_close(network(photos()), found.output)
        assert len(network.train()(photos())) == stages


def test_positions_of_a_tanh_network_are_read_in_its_range():
    network = small(join="logit")
    with torch.no_grad():
        network.decoder[-1].bias.sub_(torch.tensor([3.0, 1.0, 0.0]))
        output = network(photos())
    assert output.min() < 0 < output.max()
    torch.testing.assert_close(predict(network, photos()), (1.2 * (output + 1) / 2 - 0.1) * 32)


@pytest.mark.parametrize(("own", "other"), [("tanh", "sigmoid"), ("sigmoid", "tanh"), ("tanh", "tanh")])
def test_a_trained_prn_starts_the_first_stage(own, other):
    """Whatever its range, the first stage then says the positions that the PRN says."""
    prn = small("prn", seed=1, squash=other)
    network = small(seed=2, squash=own, join="logit")  # nothing added yet: the output is the first stage's
    assert (predict(prn, photos()) - predict(network, photos())).abs().max() > 0.1
    network.start_from(prn)
    torch.testing.assert_close(predict(network, photos()), predict(prn, photos()), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="train prn with the same image_size and width first"):
        network.start_from(build("prn", image_size=32, width=0.2))
    with pytest.raises(ValueError, match="mobile cannot start this one"):
        network.start_from(build("mobile", image_size=32, width=0.1))


def test_errors_of_options():
    with pytest.raises(ValueError, match="join one of output, logit"):
        build("residual", image_size=32, width=0.1, join="sum")


def batches(step):
    draws = generator(step)
    return torch.rand(2, 3, 32, 32, generator=draws), 32 * torch.rand(2, 3, 32, 32, generator=draws)


def stage_loss(**options):
    marks = torch.rand(68, 2, generator=generator(9))
    return StageLoss(torch.ones(32, 32), marks, signed=True, **options)


def test_a_frozen_stage_learns_nothing_and_then_joins_in(tmp_path):
    """Weights and moving statistics of stage 1 stand still for two steps; a run broken off goes on alike."""
    network = small(frozen_steps=2)
    before = {n: v.clone() for n, v in network.state_dict().items()}
    settings = Settings(
        steps=4, batch=2, learning_rate=1e-2, validate_every=1, patience=0, prefetch=0, device="cpu"
    )
    seen = []

    def validate(found):
        seen.append({n: v.clone() for n, v in found.state_dict().items()})
        return 1.0 / len(seen)

    fit(network, batches, validate, settings, loss=stage_loss(), progress="none")
    first = [n for n in before if n.startswith(("encoder", "decoder"))]
    moved = [sum(not torch.equal(before[n], state[n]) for n in first) for state in seen]
    assert moved[:2] == [0, 0]
    assert moved[2] > 100
    assert not torch.equal(seen[0]["refinements.0.8.body.2.weight"], seen[1]["refinements.0.8.body.2.weight"])
    again, folder = small(frozen_steps=2), tmp_path / "run"
    for steps in (1, 4):
        part = Settings(**{**vars(settings), "steps": steps})
        fit(again, batches, lambda _: 1.0, part, loss=stage_loss(), folder=folder, progress="none")
    straight = small(frozen_steps=2)
    fit(
        straight,
        batches,
        lambda _: 1.0,
        settings,
        loss=stage_loss(),
        folder=tmp_path / "straight",
        progress="none",
    )
    states = [torch.load(f / "checkpoint.pt")["network"] for f in (folder, tmp_path / "straight")]
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])


def test_symmetry_is_the_sum_over_pairs_and_of_mirrored_faces_nothing():
    assert len(PAIRS) == 29  # the 58 points beside the midline
    marks = 50 * torch.rand(3, 68, 3, generator=generator(), dtype=torch.float64)
    expected = 0.0
    for b in range(3):
        for i, j in PAIRS:
            expected += abs(math.dist(marks[b, i], marks[b, 30]) - math.dist(marks[b, j], marks[b, 30]))
    assert float(landmark_symmetry(marks)) == pytest.approx(expected / (3 * 29), rel=1e-9)
    mirrored = (marks + marks[:, list(FLIP)] * torch.tensor([-1.0, 1.0, 1.0])) / 2
    turned = mirrored @ torch.linalg.qr(torch.randn(3, 3, generator=generator(), dtype=torch.float64))[0]
    assert float(landmark_symmetry(turned + 7)) < 1e-6


def test_roughness_is_the_uv_laplacian():
    field = torch.rand(2, 3, 6, 6, generator=generator(), dtype=torch.float64)
    weight = torch.rand(6, 6, generator=generator(1), dtype=torch.float64)
    total = 0.0
    for b in range(2):
        for i in range(6):
            for j in range(6):
                near = [
                    (min(max(i + a, 0), 5), min(max(j + c, 0), 5))
                    for a, c in ((0, 1), (1, 0), (0, -1), (-1, 0))
                ]
                mean = sum(field[b, :, k, m] for k, m in near) / 4
                total += float(weight[i, j] * (field[b, :, i, j] - mean).norm())
    assert float(map_roughness(field, weight)) == pytest.approx(total / (2 * float(weight.sum())), rel=1e-6)
    plane = torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")).expand(
        1, 2, 6, 6
    )
    inner = torch.zeros(6, 6)
    inner[1:-1, 1:-1] = 1
    assert float(map_roughness(torch.cat((plane, plane[:, :1]), dim=1), inner)) < 1e-5


def test_stage_loss_adds_up():
    output, brief = (torch.tanh(torch.randn(2, 3, 32, 32, generator=generator(k))) for k in (1, 2))
    target = 32 * torch.rand(2, 3, 32, 32, generator=generator(3))
    plain = PositionLoss(torch.ones(32, 32), squared=False, signed=True)
    weighed = stage_loss(symmetry=0.5, smoothness=0.25, briefs=2.0)
    shares = 1.2 * (brief + 1) / 2 - 0.1
    grid = (2 * weighed.landmark_uv - 1).expand(2, 1, -1, 2)
    marks = F.grid_sample(shares, grid, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
    geometry = 0.5 * landmark_symmetry(marks) + 0.25 * map_roughness(shares)
    expected = plain(output, target) + 2 * plain(brief, target) + geometry
    torch.testing.assert_close(weighed((output, brief), target), expected)
    torch.testing.assert_close(stage_loss()(output, target), plain(output, target))


def mouth_and_neck(size=32):
    """A mask as the face model's: zero below, and in a slit that touches no border."""
    weight = torch.full((size, size), 3.0)
    weight[24:] = 0.0
    weight[15, 12:20] = 0.0
    return SimpleNamespace(uv_weight=lambda s: weight.clone())


def test_masks_differ_at_the_edge_alone():
    model, hard = mouth_and_neck(), mouth_and_neck().uv_weight(32)
    assert seams.neck(model, 32).sum() == 8 * 32  # not the slit
    masks = {name: seams.mask(name, model, 32) for name in seams.MASKS}
    assert torch.equal(masks["16:4:3:0"], hard)
    torch.testing.assert_close(masks["1:0.4:0.3:0"], hard / 10)
    raised = masks["raised"] - hard
    assert raised.unique().tolist() == [0.0, 3.0]
    assert (raised[22:24] == 3).all()
    assert (raised[2:22, 2:30] == 0).all()
    assert torch.equal(masks["lowered"], torch.where(raised > 0, 1.5, hard))
    assert masks["taper"][23:28, 5].tolist() == pytest.approx([3.0, 2.0, 1.0, 0.0, 0.0], abs=1e-5)
    assert torch.equal(masks["taper"][:24], hard[:24])
    assert masks["everywhere"].min() == 1
    with pytest.raises(ValueError, match="no mask is called 'soft'; there are 16:4:3:0"):
        seams.mask("soft", model, 32)


def test_rings_are_chessboard_distances():
    from scipy.ndimage import distance_transform_cdt

    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[:12, 3:18] = True
    depth = distance_transform_cdt(F.pad(inside, (1, 1, 1, 1)).numpy(), "chessboard")[1:-1, 1:-1]
    away = distance_transform_cdt(~inside.numpy(), "chessboard")
    expected = torch.where(inside, torch.from_numpy(depth), -torch.from_numpy(away)).clamp(-5, 5)
    assert torch.equal(seams.rings(inside, 5), expected.long())


def test_recipes_go_on_from_prn(tmp_path):
    """The start is in the hash; without its weights the message says what to train."""
    from facet import profiles

    profile = profiles.load("smoke")
    made, prn = (recipes.recipe(name, profile) for name in ("residual", "prn"))
    longer = recipes.recipe("prn", profile, variant="longer")
    steps = round(starts.Start().share * profile.steps)
    assert made.settings.steps == longer.settings.steps == steps
    assert made.options == {"squash": "tanh", "frozen_steps": steps // 2}
    assert made.data["start"]["name"] == prn.name == "prn-smoke"
    other = recipes.recipe("residual", profile.with_(samples=800))
    assert other.data["start"]["hash"] != made.data["start"]["hash"]
    narrow = recipes.recipe("residual", profile.with_(options={"refinement_width": 0.125}))
    assert narrow.options["refinement_width"] == 0.125
    folders = {"weights": tmp_path / "nowhere", "cache": tmp_path, "progress": "none"}
    seeded = recipes.recipe("residual", profile, seed=1)
    for start, seed in ((made, ""), (seeded, " --seed 1")):
        command = (
            rf"prn-smoke\S*, whose weights are not on this .*: `facet train prn --profile smoke{seed}` makes"
        )
        with pytest.raises(FileNotFoundError, match=command):
            obtain(start, no_data, **folders)
    trained = build("prn", image_size=64, width=0.25, seed=7)
    path = tmp_path / "weights" / "prn-smoke.safetensors"
    save_weights(trained, path, {"configuration": {**prn.configuration(), "steps": 7}})
    with pytest.raises(
        FileNotFoundError,
        match=r"but \S+prn-smoke.safetensors was trained with another configuration: `facet",
    ):
        obtain(made, no_data, **folders)
    save_weights(trained, path, {"configuration": prn.configuration()})
    assert starts.first_weights(made, (tmp_path / "nowhere", path.parent)) == path
    assert training_folder(made, tmp_path) != training_folder(prn, tmp_path)


def no_data():
    raise AssertionError("the data were made before the weights were looked for")


def toy_task():
    images = photos(4)

    def batches(step):
        return images, 32 * images.flip(1)

    loss = StageLoss(torch.ones(32, 32), 0.5 * torch.ones(68, 2), signed=True)
    return Task(batches, lambda network: float(loss(network(images), 32 * images.flip(1))), loss)


def test_a_training_that_goes_on_needs_its_origin_once(tmp_path):
    """With a checkpoint, as a slice on a bare machine has, PRN's weights are asked for no more."""
    settings = Settings(
        steps=3, batch=4, learning_rate=1e-3, patience=0, validate_every=1, checkpoint_every=1, device="cpu"
    )
    options = {"squash": "tanh", "frozen_steps": 3}
    made = Recipe(
        "residual", "tiny", 32, 0.1, settings, {"start": {"name": "prn-tiny", "hash": ""}}, "", options
    )
    prn = small("prn", seed=3)
    path = tmp_path / "here" / "weights" / "prn-tiny.safetensors"
    about = {"configuration": {"system": "prn", "image_size": 32, "width": 0.1}}
    save_weights(prn, path, about)
    made.data["start"]["hash"] = configuration_hash(about["configuration"])
    folders = {"weights": tmp_path / "none", "cache": tmp_path / "here", "progress": "none"}
    network, history = obtain(made, toy_task, minutes=1e-9, **folders)
    assert not history.finished
    first = network.encoder[0].weight.clone()
    torch.testing.assert_close(first, prn.encoder[0].weight, atol=1e-3, rtol=0)
    path.unlink()
    network, history = obtain(made, toy_task, **folders)
    assert history.finished
    assert torch.equal(network.encoder[0].weight, first)  # stage 1 stood still
    assert not begun(made, tmp_path / "here")


def test_samples_of_the_network_that_one_goes_on_from_are_counted(monkeypatch):
    """By its weights, or by its budget where they are not on this machine."""
    from facet import profiles, trainings
    from facet.evaluation import study

    profile = profiles.load("small")
    state = SimpleNamespace(state="none", path=None, metadata={"samples": 72_000})
    monkeypatch.setattr(recipes, "weights_state", lambda made: state)
    for pair, before in ((("prn", ""), 0), (("residual", ""), 80_000), (("prn", "longer"), 80_000)):
        assert recipes.samples_before(pair[0], profile, variant=pair[1]) == before
    state.state = "trained"
    assert recipes.samples_before("residual", profile) == 72_000
    monkeypatch.setattr(
        trainings, "trained", lambda *a, **k: (small("prn"), History([{"samples": 24_000}], finished=True))
    )
    found = study.systems(profile, [("prn", "longer"), ("mobile", "")])
    assert [system.samples for system in found] == [0, 0, 96_000, 24_000]
    assert {("residual", ""), ("prn", "longer")} <= set(study.TRAINED)


def test_listed_weights_tell_the_samples_before(monkeypatch, capsys):
    from facet import cli, training, trainings

    own = SimpleNamespace(name="prn-longer-small", state="trained", path="here")
    own.metadata = {"samples": 24_000, "val_loss": 0.03}
    monkeypatch.setattr(trainings, "known", lambda: (("prn", "longer"),))
    monkeypatch.setattr(training, "weights_state", lambda made: own)
    monkeypatch.setattr(recipes, "weights_state", lambda made: SimpleNamespace(state="none"))
    assert cli.main(["data", "weights", "--profile", "small"]) == 0
    assert capsys.readouterr().out == "prn-longer-small: trained; 104,000 samples, validation loss 0.03\n"


@pytest.mark.parametrize(
    ("train", "state", "started", "expected"),
    [
        ("auto", "none", False, ["prn", "residual"]),
        ("always", "released", False, ["prn", "residual"]),
        ("auto", "none", True, ["residual"]),  # its checkpoint holds what it took from PRN
        ("auto", "released", False, ["residual"]),
        ("never", "none", False, ["residual"]),
        ("sometimes", "none", False, ["residual"]),  # refused there
    ],
)
def test_the_origin_is_trained_before_what_goes_on_from_it(monkeypatch, train, state, started, expected):
    from facet import profiles

    asked = []
    monkeypatch.setattr(recipes, "obtain", lambda made, *a, **k: asked.append(made.system) or (None, None))
    monkeypatch.setattr(recipes, "weights_state", lambda made: SimpleNamespace(state=state))
    monkeypatch.setattr(recipes, "begun", lambda made: started)
    recipes.trained("residual", profiles.load("smoke"), train=train)
    assert asked == expected


def test_cells_of_the_studies_differ_in_what_they_vary():
    """Every study has its baseline in common with the others, and two seeds, the first one first."""
    keys = {}
    for name, make in studies.STUDIES.items():
        study = make()
        assert [cell.varied["seed"] for cell in study.cells] == sorted(
            cell.varied["seed"] for cell in study.cells
        )
        assert (
            len({cell.hash for cell in study.cells}) == len(study.cells) == len({c.name for c in study.cells})
        )
        for cell in study.cells:
            described = dict(cell.configuration)
            described.pop("test")
            keys.setdefault(str(described), []).append((name, cell.name))
            assert described["settings"]["steps"] * described["settings"]["batch"] == 12_000
    shared = [places for places in keys.values() if ("losses", "prn-l1-x-mask-seed0") in places]
    assert {name for name, _ in shared[0]} == {"losses", "augmentation", "range", "equal-macs"}
    assert len(studies.losses().cells) == 2 * 2 * 6


def test_residuals_studies_count_places_as_its_thesis_does():
    """1 : 0.4 : 0.3 : 0 wherever there is a mask, but in the study of the seam, which is TwoView's."""
    for name, make in studies.STUDIES.items():
        found = {cell.configuration["loss"]["weights"] for cell in make().cells}
        if name == "seam":
            assert found == {"16:4:3:0", "raised", "lowered", "taper", "everywhere"}
        else:
            assert found == ({"1:0.4:0.3:0", "none"} if name == "losses" else {"1:0.4:0.3:0"})
    mask = seams.mask("1:0.4:0.3:0", face_model.load(), 64)
    assert mask.unique().tolist() == pytest.approx([0.0, 0.3, 0.4, 1.0])


def test_the_wide_prn_costs_as_much_as_both_stages():
    prn, residual = studies.equal_macs().cells[3], studies.equal_macs().cells[1]
    built = [
        build(c["system"], image_size=c["image_size"], width=c["width"], **c["options"])
        for c in (prn.configuration, residual.configuration)
    ]
    assert macs(built[0]) == pytest.approx(macs(built[1]), rel=0.02)
