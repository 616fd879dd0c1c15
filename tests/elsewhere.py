"""A device that is not there: its tensors lie in main memory, but refuse to meet those of the CPU.

Code that runs on it respects the device it is given, as it would have to on a GPU. Under `elsewhere()`,
`.to(ELSEWHERE)` moves tensors there. What moves between devices by itself (`to`, `tolist`, `item`,
assignment) still does, and indices may lie on either, as with CUDA; generators of the CPU may not be used.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

ELSEWHERE = torch.device("meta")  # known to every build of PyTorch; nothing is computed by its kernels
MOVES = ("_to_copy", "copy_", "index", "index_put", "index_put_", "_index_put_impl_")
LITERALS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class There(torch.Tensor):
    """A tensor on `ELSEWHERE`; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        if inner.layout != torch.strided:
            made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=ELSEWHERE)
        else:
            place = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
            made = torch.Tensor._make_wrapper_subclass(
                cls, inner.shape, **place, dtype=inner.dtype, device=ELSEWHERE
            )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("a tensor of elsewhere outlived its mode")


class _Operations(TorchDispatchMode):
    """Each on tensors of one device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        theirs = {id(t.inner): t for t in tensors if isinstance(t, There)}
        target = kwargs.get("device")
        away = bool(theirs) if target is None else torch.device(target).type == ELSEWHERE.type
        ours = [t for t in tensors if not isinstance(t, There) and t.ndim]
        name = func.overloadpacket.__name__
        if theirs and ours and name not in MOVES:
            raise RuntimeError(f"{name} of tensors on {ELSEWHERE} and on the CPU")
        if away and isinstance(kwargs.get("generator"), torch.Generator):
            raise RuntimeError(f"{name} on {ELSEWHERE} with a generator of the CPU")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        if name in ("copy_", "index"):
            away = isinstance(args[0], There)
        args, kwargs = tree_map_only(There, lambda t: t.inner, (args, kwargs))
        if name == "_to_copy" and args[0].layout != torch.strided:
            kwargs.pop("layout", None)  # that of the wrapper
        found = func(*args, **kwargs)
        if not away:
            return found
        return tree_map_only(torch.Tensor, lambda t: theirs[id(t)] if id(t) in theirs else There(t), found)


class _Literals(TorchFunctionMode):
    """Numbers of Python become tensors here and are moved: PyTorch would call its own kernels."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.tolist and isinstance(args[0], There):
            return args[0].inner.tolist()
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(i) if isinstance(i, list) else i for i in index)
            return func(args[0], index, *args[2:])
        if func is torch.sparse.mm and any(isinstance(t, There) for t in args):
            matrix, dense = (t.inner for t in args)  # an AttributeError if one of them is here
            return There(torch.sparse.mm(matrix, dense))
        if func not in LITERALS:
            return func(*args, **kwargs)
        if func is torch.Tensor.new_tensor:
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
        device = kwargs.pop("device", None)
        made = args[0] if isinstance(args[0], torch.Tensor) else torch.tensor(*args, **kwargs)
        return made if device is None else made.to(device)


@contextmanager
def elsewhere():
    """In the block, tensors can be on `ELSEWHERE`."""
    with _Literals(), _Operations():
        yield ELSEWHERE


def here(value: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor of `ELSEWHERE`."""
    return value.inner
