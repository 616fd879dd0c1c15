"""What is made of a face model once, and forgotten with it."""

import weakref
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
_made: dict[int, dict[Hashable, object]] = {}  # by the model's id: face models have no hash


def once_for(face, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns: called for a face model and a key the first time only.

    It must not hold the model itself, or neither is ever forgotten.
    """
    if id(face) not in _made:
        _made[id(face)] = {}
        weakref.finalize(face, _made.pop, id(face), None)
    made = _made[id(face)]
    if key not in made:
        made[key] = make()
    return made[key]
