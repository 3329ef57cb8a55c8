"""Who looks on while a layer runs: compilers, tracers, and transforms of functions."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.nn import Parameter

P = ParamSpec("P")
R = TypeVar("R")


def is_captured() -> bool:
    """Tell whether a compiler or ``torch.jit.trace`` looks on."""
    return torch.compiler.is_compiling() or is_traced()


def is_in_forward_mode() -> bool:
    """Tell whether tangents are computed along with values, as :func:`torch.func.jvp` does."""
    return forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Tell whether a transform of :mod:`torch.func`, such as ``vmap``, is at work."""
    return peek_interpreter_stack() is not None


def runs_plainly(*tensors: Tensor) -> bool:
    """Tell whether tensors are PyTorch's own, and nobody looks on at what is done with them, or transforms it."""
    plain = all(type(tensor) in (Tensor, Parameter) for tensor in tensors)
    return plain and not (is_captured() or is_in_forward_mode() or is_transformed())


def is_traced() -> bool:
    """Tell whether ``torch.jit.trace``, and with it TensorBoard's graph, records what is called."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def untraced(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that looks at sizes: unseen by ``torch.jit.trace``, which would make tensors of them and warn.

    Args:
        function: Takes tensors, gives none.
        *args: Its arguments.
        **kwargs: Its other arguments.

    Returns:
        What it gives.
    """
    if not is_traced():
        return function(*args, **kwargs)
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        return function(*args, **kwargs)
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]
