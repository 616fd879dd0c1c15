"""One picture of the second generation as numbers in a JSON file, from which it is made again alone.

On one machine type the picture has the same bits as in the group that it was made in: besides the rows of the
eight tables, a record says in which company its person was worked on (see `portrait.Company`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from facet.face_model import files as cache
from facet.files import write_beside
from facet.synthetic.dataset import as_bytes
from facet.synthetic.portrait import Atelier, Cast, Company, Exposure, Shots, expose

FORMAT = 1


@dataclass
class Record:
    """Everything that one picture is a function of, beside the assets.

    Attributes:
        cast: one person; shots: one picture of it.
        size, shift, split: as `portrait.expose` takes them; company: of the person.
        face_model: version of the model that the coefficients are of.
    """

    cast: Cast
    shots: Shots
    size: int
    shift: float
    split: str
    company: Company
    face_model: str = cache.VERSION

    @classmethod
    def of(
        cls, cast: Cast, shots: Shots, picture: int, *, size: int, shift: float, split: str = "train"
    ) -> "Record":
        """Of one picture among those that `portrait.photograph` makes of these tables in one call."""
        who, place = shots.views.subject.unique(return_inverse=True)
        chosen = shots.rows(slice(picture, picture + 1))
        person = int(chosen.views.subject)
        chosen.views.subject = torch.zeros_like(chosen.views.subject)
        company = Company(len(who), int(place[picture]))
        return cls(cast.rows(slice(person, person + 1)), chosen, size, shift, split, company)

    def expose(self, atelier: Atelier) -> Exposure:
        """Take the picture again; its ground truth can be read off the exposure.

        Raises:
            ValueError: the record is of another face model than the one at hand.
        """
        if self.face_model != cache.VERSION:
            raise ValueError(
                f"the record is of face model {self.face_model}, here is {cache.VERSION}: "
                "use the version of facet that wrote it"
            )
        where = {"size": self.size, "shift": self.shift, "split": self.split}
        return expose(atelier, self.cast, self.shots, **where, company=self.company)

    def pixels(self, atelier: Atelier) -> Tensor:
        """(3, S, S) uint8, the picture as a shard stores it."""
        return as_bytes(self.expose(atelier).pictures[0])

    def save(self, path: str | Path) -> None:
        """Write the record as JSON."""
        plain = {"format": FORMAT, "face_model": self.face_model, "size": self.size, "shift": self.shift}
        plain |= {"split": self.split, "company": asdict(self.company)}
        tables = {**self.cast.state(), **self.shots.state()}
        plain["tables"] = {name: _plain(name, column[0]) for name, column in tables.items()}
        with write_beside(Path(path)) as temporary:
            temporary.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Record":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not such a record, or lacks a number.
        """
        try:
            plain = json.loads(Path(path).read_text())
            if plain["format"] != FORMAT:
                raise ValueError(f"{path} has format {plain['format']}; this version reads {FORMAT}")
            state = {name: _tensor(values)[None] for name, values in plain["tables"].items()}
            tables = Cast.from_state(state), Shots.from_state(state)
            rest = (plain[name] for name in ("size", "shift", "split"))
            return cls(*tables, *rest, Company(**plain["company"]), plain["face_model"])
        except (KeyError, TypeError, json.JSONDecodeError) as fault:
            raise ValueError(
                f"{path} is no record of a picture, or a part of it is missing: {fault}"
            ) from None


def _plain(name: str, column: Tensor):
    """Nested lists of a column's row; JSON has no infinity, so that becomes a string."""
    if column.dtype not in (torch.float32, torch.int64, torch.bool):
        raise TypeError(f"{name} is {column.dtype}; JSON gives back float32, int64 and bool")

    def named(value):
        if isinstance(value, list):
            return [named(v) for v in value]
        return str(value) if value in (float("inf"), float("-inf")) else value

    return named(column.tolist())


def _tensor(values) -> Tensor:
    """The column's row that `_plain` gave."""

    def number(value):
        if isinstance(value, list):
            return [number(v) for v in value]
        return float(value) if isinstance(value, str) else value

    return torch.tensor(number(values))
