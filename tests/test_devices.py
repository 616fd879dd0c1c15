"""Everything that makes pictures respects the device it is given; tried on one that is not there."""

import pytest
import torch
from elsewhere import ELSEWHERE, There, elsewhere, here
from tiny_people import atelier, studio

from facet import face_model
from facet.synthetic import portrait
from facet.synthetic.dataset import open_studio
from facet.synthetic.render import render, truth_maps
from facet.synthetic.sitting import posed, sit
from facet.synthetic.truth import photograph_with_truth

SIZE = 48


def equal(one, two):
    return torch.equal(one.nan_to_num(-1.0), two.nan_to_num(-1.0))


def test_what_is_elsewhere_does_not_meet_what_is_here():
    with elsewhere():
        there = torch.arange(6.0).view(2, 3).to(ELSEWHERE)
        assert there.device == torch.zeros(1, device=ELSEWHERE).device == (there + 1).device == ELSEWHERE
        assert (there * there.new_tensor([1.0, 2.0, 3.0])).tolist() == [[0, 2, 6], [3, 8, 15]]
        assert (there[:, [2, 0]] > 4).nonzero().tolist() == [[1, 0]]
        assert there[torch.tensor([1])].device == ELSEWHERE
        assert there.cpu().sum() == 15
        there += 1
        assert int(there[0, 0]) == 1
        with pytest.raises(RuntimeError, match="add of tensors on meta and on the CPU"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="generator of the CPU"):
            torch.rand(3, generator=torch.Generator(), device=ELSEWHERE)


@pytest.mark.slow
@pytest.mark.assets
def test_portraits_and_their_truth_are_made_where_the_tables_are():
    cast, shots = sit(atelier(), [0, 1], posed([0.0, 60.0], people=2), size=SIZE)
    shots.occluder.kind[:3] = torch.tensor([1, 2, 3])
    made = {"size": SIZE, "shift": 0}
    maps = face_model.sampler(atelier().model, 16)
    expected = photograph_with_truth(atelier(), maps, cast, shots, **made)
    with elsewhere() as device:
        model = atelier().model.to(device)
        there = portrait.Atelier.open(model, device)
        tables = cast.to(device), shots.to(device)
        maps = face_model.sampler(model, 16)
        pictures, truth = photograph_with_truth(there, maps, *tables, **made)
        assert isinstance(pictures, There)
        assert all(isinstance(layer, There) for layer in vars(truth).values())
    assert equal(here(pictures), expected[0])
    for name, layer in vars(expected[1]).items():
        assert equal(here(getattr(truth, name)), layer), name


@pytest.mark.assets
def test_the_first_generation_too():
    cast, shots = sit(atelier(), [0, 1], posed([0.0], people=2), size=SIZE)
    subjects, views, made = cast.subjects, shots.views, {"size": SIZE, "shift": 0}
    expected = render(studio(), subjects, views, **made)
    maps = truth_maps(face_model.sampler(atelier().model, 16), subjects, views)
    with elsewhere() as device:
        model = atelier().model.to(device)
        there = open_studio(1, model, device)
        found = render(there, subjects.to(device), views.to(device), **made)
        target = truth_maps(face_model.sampler(model, 16), subjects.to(device), views.to(device))
        assert isinstance(found, There)
    assert equal(here(found), expected)
    assert equal(here(target), maps)
