"""Every stored number is explained, and the explanations stay with their columns."""

from dataclasses import dataclass, fields

import pytest
import torch
from tiny_people import atelier

from facet.synthetic import parameters, sitting
from facet.synthetic.subjects import Table


@dataclass
class Odd(Table):
    """A table.

    Attributes:
        one: (N,) first thing; two, three: (N, 2) a pair of (other) things, four: (N,);
            five: (M, 3, 2) things of `one` (N,) and, at the end, a line
            that goes on.
    """

    one: torch.Tensor
    two: torch.Tensor
    three: torch.Tensor
    four: torch.Tensor
    five: torch.Tensor
    last_one: torch.Tensor


def test_docstrings_are_read():
    assert parameters.described(Odd) == {
        "one": "first thing",
        "two": "a pair of (other) things",
        "three": "a pair of (other) things",
        "four": "four",
        "five": "things of `one` (N,) and, at the end, a line that goes on",
        "last_one": "last one",
    }


@pytest.mark.assets
def test_every_stored_parameter_is_explained():
    cast, shots = sitting.sit(atelier(), [3], sitting.posed(10.0), size=64)
    rows = parameters.parameter_rows(cast, shots)
    named = [(row["table"], row["name"]) for row in rows]
    bundles = [(f.name, getattr(b, f.name)) for b in (cast, shots) for f in fields(b)]
    assert named == [(name, column) for name, table in bundles for column in table.__dataclass_fields__]
    assert all(row["meaning"] and row["example"] for row in rows)
    stored = {**cast.state(), **shots.state()}
    assert sum(row["numbers"] for row in rows) == sum(value[0].numel() for value in stored.values())
    told = {(row["table"], row["name"]): row["meaning"] for row in rows}
    assert told["views", "pitch"] == "degrees; + lifts the nose"
    assert told["skin", "mix"] == "share of the second"
    assert told["finish", "defocus"] == "radius of the disk"
    assert told["stance", "neck"].startswith("degrees of the head against the torso")
    assert {row["of"] for row in rows if row["table"] in ("subjects", "skin", "outfit")} == {"person"}
    assert [row["name"] for row in rows if row["table"] == "views" and not row["read"]] == [
        *("sh", "key_direction", "key_colour")
    ]
