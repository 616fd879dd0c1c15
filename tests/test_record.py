"""Records: a picture made again from its JSON file alone has the bytes of the shard."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_people import atelier, root, tiny

from facet.synthetic import dataset, portrait
from facet.synthetic.record import Record

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Shards of this module lie in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset.paths, "CACHE", root(tmp_path_factory.mktemp("records")) / "data" / "cache")
        yield


def of_shard(description: dataset.Description, shard: int, number: int) -> Record:
    """Of a stored picture, counted as they lie in the shard, in the company that it was made in."""
    state = load_file(dataset.shard_files(description, shard)[1])
    cast, shots = portrait.Cast.from_state(state), portrait.Shots.from_state(state)
    size, shift = description.window
    first = number - number % dataset.TOGETHER
    some = shots.rows(slice(first, first + dataset.TOGETHER))
    split = "test" if description.split == "test" else "train"
    return Record.of(cast, some, number - first, size=size, shift=shift, split=split)


@pytest.mark.parametrize(
    ("description", "company"),
    [
        (tiny(people=2, generation=2), (2, 1)),
        (tiny("validation", "front", people=6, shard=6, generation=2), (6, 4)),
        (tiny("test", "front", people=3, shard=3, jitter=True, generation=2), (3, 1)),
    ],
    ids=lambda d: f"{d.split}-{d.poses}" if isinstance(d, dataset.Description) else "",
)
def test_a_picture_is_made_again_from_its_record_alone(description, company, tmp_path):
    dataset.make_shard(description, 0, atelier())
    stored = np.load(dataset.shard_files(description, 0)[0])
    stored = stored.reshape(-1, *stored.shape[2:])
    picture = 4 if len(stored) > 4 else 1
    of_shard(description, 0, picture).save(tmp_path / "picture.json")
    read = Record.load(tmp_path / "picture.json")
    assert (read.company.people, read.company.place) == company
    assert len(read.cast) == len(read.shots) == 1
    assert read.pixels(atelier()).numpy().tobytes() == stored[picture].tobytes()


def test_without_its_company_a_picture_rounds_otherwise():
    """Company is needed: heads of six people at once are not those of one, to the last bit."""
    description = tiny("validation", "front", people=6, shard=6, generation=2)
    people, shots = dataset.draw_shard(description, 0, atelier())
    size, shift = description.window
    record = Record.of(people, shots, 5, size=size, shift=shift)
    together = portrait.photograph(atelier(), people, shots, size=size, shift=shift)[5]
    assert torch.equal(record.expose(atelier()).pictures[0], together)  # every bit of the floats
    alone = replace(record, company=portrait.Company())
    assert not torch.equal(alone.expose(atelier()).pictures[0], together)


def test_json_holds_every_number(tmp_path):
    description = tiny(people=2, generation=2)
    people, shots = dataset.draw_shard(description, 0, atelier())
    shots.views.distance[3] = torch.inf
    record = Record.of(people, shots, 3, size=80, shift=8)
    record.save(tmp_path / "picture.json")
    json.loads((tmp_path / "picture.json").read_text(), parse_constant=pytest.fail)  # strict JSON
    read = Record.load(tmp_path / "picture.json")
    for one, two in ((record.cast, read.cast), (record.shots, read.shots)):
        for name, column in one.state().items():
            assert torch.equal(column, two.state()[name]), name
            assert column.dtype == two.state()[name].dtype, name
    assert read.shots.views.distance.isinf().all()


def test_faults_are_named(tmp_path):
    description = tiny(people=2, generation=2)
    people, shots = dataset.draw_shard(description, 0, atelier())
    record = Record.of(people, shots, 0, size=80, shift=8)
    path = tmp_path / "picture.json"
    with pytest.raises(ValueError, match="face model 0, here is"):
        replace(record, face_model="0").expose(atelier())
    record.save(path)
    plain = json.loads(path.read_text())
    del plain["tables"]["skin.melanin"]
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=r"picture.json is no record .*skin.melanin"):
        Record.load(path)
    path.write_text(json.dumps(plain | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Record.load(path)
    with pytest.raises(ValueError, match="2 people are their own company"):
        portrait.photograph(atelier(), people, shots, size=80, shift=8, company=portrait.Company(2, 0))
