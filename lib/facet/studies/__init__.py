"""Studies: many trainings that differ in one thing, as resumable queues whose records are kept."""

from facet.studies.queue import Cell, OutOfTime, Session, Study, read, record_path, run, state
from facet.studies.registry import STUDIES, find, overview, records, summary, table

__all__ = [
    "STUDIES",
    "Cell",
    "OutOfTime",
    "Session",
    "Study",
    "find",
    "overview",
    "read",
    "record_path",
    "records",
    "run",
    "state",
    "summary",
    "table",
]
