"""State of the random number generators that a run draws from."""

import random
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor


class TorchStates(TypedDict):
    """State of PyTorch's generators.

    Attributes:
        torch: That on the CPU.
        cuda: That on a GPU; None where there is none.
    """

    torch: Tensor
    cuda: Tensor | None


class GeneratorStates(TorchStates):
    """State of all generators, in types that a checkpoint may hold and load without pickled objects.

    Attributes:
        python: That of ``random``.
        numpy: NumPy's global one.
    """

    python: Any
    numpy: Any


def capture_torch_state(device: torch.device) -> TorchStates:
    """Take down the state of PyTorch's generators, which takes microseconds.

    Args:
        device: Which GPU's generator, if it is one.

    Returns:
        The state.
    """
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def restore_torch_state(state: TorchStates, device: torch.device) -> None:
    """Let PyTorch's generators go on from a state.

    Args:
        state: As it was captured, or loaded from a checkpoint, wherever its tensors lie.
        device: Which GPU's generator goes on, if it is one.
    """
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def capture_random_state(device: torch.device) -> GeneratorStates:
    """Take down the state of all generators.

    Args:
        device: Which GPU's generator, if it is one.

    Returns:
        The state.
    """
    name, key, *rest = np.random.get_state(legacy=True)
    numpy = (name, np.asarray(key).tolist(), *rest)
    return {"python": random.getstate(), "numpy": numpy, **capture_torch_state(device)}


def restore_random_state(state: GeneratorStates, device: torch.device) -> None:
    """Let all generators go on from a state.

    Args:
        state: As it was captured, or loaded from a checkpoint.
        device: Which GPU's generator goes on, if it is one.
    """
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])
    restore_torch_state(state, device)
