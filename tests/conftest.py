"""Shared by all tests: one thread a worker, small seeded draws, devices and precisions to try."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("FACET_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import torch

torch.set_num_threads(int(os.environ["FACET_THREADS"]))

SEED = 20


@pytest.fixture
def generator() -> torch.Generator:
    """A freshly seeded generator on the CPU."""
    return torch.Generator().manual_seed(SEED)


@pytest.fixture
def rng() -> np.random.Generator:
    """A freshly seeded numpy generator."""
    return np.random.default_rng(SEED)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ]
)
def device(request) -> torch.device:
    """The CPU, and a CUDA device where there is one."""
    return torch.device(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request) -> torch.dtype:
    """Single and double precision."""
    return request.param
