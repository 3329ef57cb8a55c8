import sys
from collections.abc import Iterator

import pytest
import torch

from acda.ops.cpu import fused


@pytest.fixture(autouse=True)
def seeded_on_one_thread() -> Iterator[None]:
    """Every test draws the same numbers whichever others run; problems are too small to share among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    if "torch._dynamo" in sys.modules:  # code that all layers share is compiled anew a limited number of times
        torch._dynamo.reset()


@pytest.fixture(params=["reference", "cpu", "cpu-in-blocks"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every backend that runs on the CPU; "cpu" by the passes for narrow layers and by those for wide ones."""
    name: str = request.param
    if name == "cpu-in-blocks":
        monkeypatch.setattr(fused, "_WEIGHT_BYTES", 0)
    return name.removesuffix("-in-blocks")


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Fresh tensors are full of NaN, so that an element that nobody writes is seen."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
