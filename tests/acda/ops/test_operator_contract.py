"""How ``adaptive_conv2d`` behaves under compilers, autocast, workers and wrong arguments, and what memory it takes."""

import logging
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset

from acda import adaptive_conv2d
from acda.ops import functional, reference
from acda.ops.cpu import backend as cpu_backend
from acda.ops.cpu import pointers
from acda.ops.geometry import Geometry as PackageGeometry
from acda.ops.problem import Needs, Problem
from tests.support.oracle import Geometry
from tests.support.problems import random_problem

GEOMETRY = ([1, 1], [1, 1], [1, 1], 1)


def _operators(backend: str) -> tuple[Any, Any]:
    forward, backward = (getattr(torch.ops.acda, backend + suffix).default for suffix in ("", "_backward"))
    return forward, backward


def _transposed(t: Tensor) -> Tensor:
    return t.transpose(0, -1).contiguous().transpose(0, -1)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels_last"])
@pytest.mark.parametrize(("images", "size"), [(2, (5, 6)), (1, (1, 1)), (1, (1, 4)), (0, (4, 4))])
def test_opcheck(layout: str, images: int, size: tuple[int, int], backend: str) -> None:
    """Shapes, strides and offsets are what the fakes promise, nothing is mutated or aliased."""
    forward, backward = _operators(backend)
    tensors = random_problem(images=images, size=size)[:4]
    if layout == "transposed":
        tensors = tuple(map(_transposed, tensors))
    if layout == "channels_last":
        tensors = (tensors[0].contiguous(memory_format=torch.channels_last), *tensors[1:])
    grad = torch.randn_like(forward(*tensors, None, *GEOMETRY))
    schema_and_fake = ("test_schema", "test_faketensor")
    opcheck(forward, (*(t.clone().requires_grad_() for t in tensors), None, *GEOMETRY), test_utils=schema_and_fake)
    for needs in ([True] * 4, [False, True, False, True]):
        opcheck(backward, (grad, *tensors, *GEOMETRY, needs), test_utils=schema_and_fake)


def test_opcheck_autograd(backend: str) -> None:
    forward, backward = _operators(backend)
    p = random_problem()
    opcheck(forward, (*(t.requires_grad_() for t in p.tensors), *GEOMETRY))
    grad = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    opcheck(backward, (grad, *(t.detach() for t in p[:4]), *GEOMETRY, [True] * 4))


def test_compiled_equals_eager(backend: str) -> None:
    problem = random_problem(geometry=Geometry(2, 1), dtype=torch.float32)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(*tensors: Tensor) -> Tensor:
        return adaptive_conv2d(*tensors, stride=2, padding=1, backend=backend).sin()

    eager, compiled = problem.requiring_grad(), problem.requiring_grad()
    y, truth = run(*compiled.tensors), adaptive_conv2d(*eager, backend=backend).sin()
    torch.testing.assert_close(y, truth)
    y.sum().backward()
    truth.sum().backward()
    for got, want in zip(compiled.tensors, eager.tensors, strict=True):
        torch.testing.assert_close(got.grad, want.grad)


def test_compiles_twice_at_most_over_batch_sizes() -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(adaptive_conv2d, fullgraph=True, backend=counter)
    for images in (2, 3, 4, 7):
        p = random_problem(images=images, dtype=torch.float32)
        torch.testing.assert_close(compiled(*p), adaptive_conv2d(*p))
    assert counter.frame_count <= 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_follows_the_active_dtype(dtype: torch.dtype, backend: str) -> None:
    p = random_problem(dtype=torch.float32).requiring_grad()
    with torch.autocast("cpu", dtype):
        y = adaptive_conv2d(*p, backend=backend)
    assert y.dtype == dtype
    y.float().sum().backward()
    assert all(t.grad is not None and t.grad.dtype == torch.float32 for t in p.tensors)
    rounded = random_problem(dtype=torch.float32)
    truth = adaptive_conv2d(*(t.to(dtype) for t in rounded.tensors), *rounded[5:], backend=backend)
    assert torch.equal(y, truth)


def test_autocast_leaves_float64_alone(backend: str) -> None:
    p = random_problem(dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert adaptive_conv2d(*p, backend=backend).dtype == torch.float64


def test_compiled_is_refused_a_second_derivative(backend: str) -> None:
    run = torch.compile(adaptive_conv2d, fullgraph=True, backend="aot_eager")
    p = random_problem().requiring_grad()
    (grad,) = torch.autograd.grad(run(*p, backend=backend).square().sum(), p.x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        grad.sum().backward()


class _Results(Dataset[list[Tensor]]):
    """Runs the operator forward and backward where its items are made.

    Backward is called as an operator: autograd's engine may refuse to run after a fork, for reasons of its own.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> list[Tensor]:
        p = random_problem(kernel_size=7, size=(9, 9), seed=index)
        y = adaptive_conv2d(*p, backend=self.backend)
        return [y, *_operators(self.backend)[1](y, *p[:4], [1, 1], [3, 3], [1, 1], 1, [True] * 4)]


def test_runs_in_a_forked_worker_after_the_parent_ran(backend: str) -> None:
    data = _Results(backend)
    torch.set_num_threads(2)
    expected = [data[i] for i in range(2)]
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=300)
    for got, want in zip(loader, expected, strict=True):
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


class _LargestStorage(TorchDispatchMode):
    """Bytes of the largest storage that any operation returns."""

    nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(out) if isinstance(t, Tensor)]
        self.nbytes = max([self.nbytes, *sizes])
        return out


@pytest.mark.parametrize("size", [(20, 20), (4, 100)])
def test_no_tensor_as_large_as_the_unfolded_input(
    size: tuple[int, int], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest tensor is the padded input, an operand or a result, or of a block and what surrounds it."""
    elements = 2**14
    for module in (reference, pointers):
        monkeypatch.setattr(module, "_BLOCK_ELEMENTS", elements)
    p = random_problem(in_channels=16, out_channels=16, size=size, kernel_size=7, dtype=torch.float32)
    problem = Problem(*p.tensors, PackageGeometry.of(7, p.stride, p.padding, p.dilation), p.groups)
    functions = {"reference": reference, "cpu": cpu_backend}[backend]
    with _LargestStorage() as largest:
        y = functions.forward(problem)
        grads = functions.backward(torch.ones_like(y), problem, Needs(*[True] * 4))
    padded = 2 * 16 * (size[0] + 6) * (size[1] + 6)
    bound = 4 * max(padded, 2 * elements, *(t.numel() for t in (*p.tensors, y, *grads)))
    assert 4 * p.x.numel() <= largest.nbytes <= bound
    assert bound < 49 * 4 * p.x.numel() / 4  # the bound is far below the unfolded input


def test_saves_only_its_inputs(backend: str) -> None:
    p = random_problem(kernel_size=7).requiring_grad()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        adaptive_conv2d(*p, backend=backend)
    given = {t.untyped_storage().data_ptr() for t in p[:4]}
    assert {t.untyped_storage().data_ptr() for t in saved} == given


def test_choice_of_backend_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "_logged", set())
    with caplog.at_level(logging.DEBUG, logger="acda"):
        adaptive_conv2d(*random_problem())
        once = [r.getMessage() for r in caplog.records]
        adaptive_conv2d(*random_problem())
    assert sum(re.search(r"backend \w+ runs$", message) is not None for message in once) == 1
    assert [r.getMessage() for r in caplog.records] == once


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": torch.zeros(3, 5, 6)}, ValueError, r"x must have 4 dimensions, got shape \(3, 5, 6\)"),
    ({"coefficients": torch.zeros(2, 2, 3, 5)}, ValueError, r"coefficients must have 5 dim.*got shape \(2, 2, 3, 5\)"),
    ({"coefficients": torch.zeros(2, 2, 3, 6, 5)}, ValueError, r"coefficients must .*\(2, 2, 3, 5, 6\), got \(2, 2, 3"),
    ({"coefficients": torch.zeros(1, 2, 3, 5, 6)}, ValueError, r"coefficients must .*\(2, 2, 3, 5, 6\), got \(1, 2, 3"),
    ({"bases": torch.zeros(3, 9)}, ValueError, r"bases must have 3 dimensions, got shape \(3, 9\)"),
    ({"bases": torch.zeros(3, 4, 4)}, ValueError, r"kernel_size must be odd and square, got .*4, 4"),
    ({"bases": torch.zeros(3, 3, 5)}, ValueError, r"kernel_size must be odd and square, got .*3, 5"),
    (
        {"bases": torch.zeros(3, 3, 3).int()},
        TypeError,
        r"bases must be floating and of x's dtype .*32, got torch.int32",
    ),
    ({"weight": torch.zeros(4, 3, 2).half()}, TypeError, r"weight must be .* dtype torch.float32, got torch.float16"),
    ({"weight": torch.zeros(4, 3, 2, device="meta")}, ValueError, r"weight must be on x's device cpu, got meta"),
    ({"weight": torch.zeros(4, 2, 2)}, ValueError, r"x must have 2 channels .*got shape \(2, 3, 5, 6\)"),
    ({"weight": torch.zeros(4, 3, 1)}, ValueError, r"coefficients must have shape \(2, 1, 3, 5, 6\), got \(2, 2, 3"),
    ({"bias": torch.zeros(3)}, ValueError, r"bias must have shape \(4,\).*got \(3,\)"),
    ({"bias": torch.zeros(4).double()}, ValueError, r"bias must have .*dtype torch.float32.*got .*torch.float64"),
    ({"bias": torch.zeros(4, device="meta")}, ValueError, r"bias must have .*device cpu.*got .*meta"),
    ({"groups": 2}, ValueError, r"groups must divide the 3 channels in and the 4 out, got 2"),
    ({"groups": 0}, ValueError, r"groups must divide .*got 0"),
    ({"stride": 0}, ValueError, r"stride must be an int or a pair of ints, each at least 1, got 0"),
    ({"stride": (1, 1, 1)}, ValueError, r"stride must be an int or a pair .*got \(1, 1, 1\)"),
    ({"stride": 1.5}, ValueError, r"stride must be an int or a pair of ints.*got 1.5"),
    ({"dilation": (1, 0)}, ValueError, r"dilation must be .*at least 1, got \(1, 0\)"),
    ({"padding": -1}, ValueError, r"padding must be .*at least 0, got -1"),
    ({"padding": "full"}, ValueError, r"padding must be 'same', 'valid', an int or a pair of ints, got 'full'"),
    ({"padding": "same", "stride": 2}, ValueError, r"padding='same' needs stride 1, got stride=2"),
    ({"padding": 0, "dilation": 3}, ValueError, r"x must be at least 7×7 pixels .*dilation=\(3, 3\), got 5×6"),
    ({"backend": "cuda"}, ValueError, r"backend must be 'auto' or one of \[.*'reference'.*\], got 'cuda'"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG, ids=[f"{'-'.join(w[0])}-{w[2][-12:]}" for w in WRONG])
def test_errors_name_argument_given_and_allowed(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = random_problem(dtype=torch.float32)._asdict() | changes
    with pytest.raises(error, match=message):
        adaptive_conv2d(**arguments)


def test_a_named_backend_that_cannot_run_is_refused_and_auto_passes_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> Tensor:
        raise AssertionError("a backend that cannot run was called")

    lame = functional._Backend(unreachable, lambda x: f"needs a GPU, x is on {x.device}")
    monkeypatch.setattr(functional, "_BACKENDS", {"lame": lame, "reference": functional._BACKENDS["reference"]})
    p = random_problem()
    with pytest.raises(RuntimeError, match="backend='lame' cannot run: needs a GPU, x is on cpu"):
        adaptive_conv2d(*p, backend="lame")
    assert torch.equal(adaptive_conv2d(*p), adaptive_conv2d(*p, backend="reference"))
