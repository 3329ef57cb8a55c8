import random
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_modules.random_state import (
    capture_random_state,
    capture_torch_state,
    restore_random_state,
    restore_torch_state,
)

CPU = torch.device("cpu")


def draw() -> list[float]:
    """Numbers of Python, NumPy and PyTorch; a normal one of NumPy's leaves another for the next time."""
    return [random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))]


@pytest.mark.parametrize("drawn_before", [0, 1])
def test_what_is_drawn_is_drawn_again(drawn_before: int) -> None:
    for _ in range(drawn_before):
        draw()
    state = capture_random_state(CPU)
    first = [draw(), draw()]
    restore_random_state(state, CPU)
    assert [draw(), draw()] == first


def test_the_state_goes_through_a_file_without_pickled_objects(tmp_path: Path) -> None:
    draw()
    torch.save(capture_random_state(CPU), tmp_path / "state.pt")
    first = draw()
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
    assert draw() == first


def test_pytorch_alone() -> None:
    state = capture_torch_state(CPU)
    drawn = draw()[-1]
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    restore_torch_state(state, CPU)
    assert float(torch.rand(())) == drawn
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpy)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_again() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    state = capture_random_state(device)
    first = torch.rand(3, device=device)
    restore_random_state(state, device)
    assert torch.equal(torch.rand(3, device=device), first)
