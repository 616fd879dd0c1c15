"""What happened in a training run: one row an epoch."""

import csv
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from facet.files import write_text

COLUMNS = ("step", "samples", "epoch", "train_loss", "val_loss", "learning_rate", "seconds", "note")
_INTEGERS = ("step", "samples", "epoch")
_TERM = "term "


@dataclass
class History:
    """Rows with the keys of COLUMNS; `seconds` is the time spent training so far, slices added up.

    A row may have `terms` besides: name → value of each term of the validation loss (columns `term name`).

    `finished` is False while a later call with the same folder would go on (the time budget ended first).
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    finished: bool = False

    @property
    def best(self) -> dict[str, object] | None:
        """The first row with the lowest validation loss; None before the first validation."""
        return min(self.rows, key=lambda row: row["val_loss"], default=None)

    def epochs_since_best(self) -> int:
        """Validations since the best one."""
        return self.rows[-1]["epoch"] - self.best["epoch"] if self.rows else 0

    def add(self, **row) -> dict[str, object]:
        """Append a row and return it.

        Raises:
            FloatingPointError: a loss is not finite; the run has diverged.
        """
        if not (math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])):
            raise FloatingPointError(
                f"training diverged before step {row['step']} (train loss {row['train_loss']}, "
                f"validation loss {row['val_loss']}): lower the learning rate {row['learning_rate']:g} "
                "or warm up longer"
            )
        self.rows.append({name: row.get(name, "") for name in COLUMNS})
        if row.get("terms"):
            self.rows[-1]["terms"] = dict(row["terms"])
        return self.rows[-1]

    def to_csv(self) -> str:
        """The table as CSV text; floats are written so that they read back exactly."""
        text = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row.get("terms", ()))
        writer = csv.DictWriter(text, [*COLUMNS, *(_TERM + name for name in names)], lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            terms = {_TERM + name: value for name, value in row.get("terms", {}).items()}
            writer.writerow({name: row[name] for name in COLUMNS} | terms)
        return text.getvalue()

    def write_csv(self, path: str | os.PathLike) -> None:
        """Write the table in one step."""
        write_text(path, self.to_csv())

    @classmethod
    def read_csv(cls, path: str | os.PathLike) -> "History":
        """Read what `write_csv` wrote."""
        rows = []
        for line in csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))):
            terms = {n.removeprefix(_TERM): float(v) for n, v in line.items() if n.startswith(_TERM) and v}
            plain = {n: v for n, v in line.items() if n != "note" and not n.startswith(_TERM)}
            numbers = {n: int(v) if n in _INTEGERS else float(v) for n, v in plain.items()}
            rows.append({**numbers, "note": line["note"]} | ({"terms": terms} if terms else {}))
        return cls(rows, finished=True)
