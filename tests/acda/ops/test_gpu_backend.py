"""The Triton kernels through the public operator: on a GPU where there is one, else in Triton's interpreter."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acda import adaptive_conv2d
from acda.ops import functional
from acda.ops.blocks import Block
from acda.ops.geometry import Geometry as PackageGeometry
from acda.ops.gpu import backend as gpu_backend
from acda.ops.gpu import launch
from acda.ops.gpu.launch import Launch
from tests.support import oracle
from tests.support.oracle import Geometry
from tests.support.problems import Arguments, random_problem

pytest.importorskip("triton")
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
BACKEND = functional._BACKENDS["triton"]
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture(autouse=True)
def only_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "_BACKENDS", {"triton": BACKEND})
    if not ON_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


def on_device(problem: Arguments) -> Arguments:
    """The same with leaves on the device."""
    return Arguments(*(t.detach().to(DEVICE).requires_grad_() for t in problem.tensors), *problem[5:])


def results(problem: Arguments, grad: Tensor) -> list[Tensor]:
    """Output and all gradients, on the CPU."""
    p = on_device(problem)
    y = adaptive_conv2d(*p, backend="triton")
    return [t.detach().cpu() for t in (y, *torch.autograd.grad(y, p.tensors, grad.to(y)))]


def truths(problem: Arguments, grad: Tensor) -> list[Tensor]:
    """The same by definition, in float64."""
    p = Arguments(*(t.detach().double().requires_grad_() for t in problem.tensors), *problem[5:])
    y = oracle.adaptive_conv2d(*p.tensors, p.geometry)
    return [y.detach(), *torch.autograd.grad(y, p.tensors, grad.double())]


def grad_like_output(problem: Arguments, seed: int = 1) -> Tensor:
    """Random gradient of the output, exact in the problem's dtype."""
    shape = (problem.x.shape[0], len(problem.weight), *problem.coefficients.shape[3:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(problem.x.dtype)


def check(problem: Arguments) -> None:
    """Output and every gradient, of the dtype of what they are of, within the bound of the dtype."""
    grad = grad_like_output(problem)
    got, want = results(problem, grad), truths(problem, grad)
    for name, value, truth in zip(("y", *Arguments._fields), got, want, strict=False):
        assert value.dtype == problem.x.dtype
        assert value.shape == truth.shape
        error, size = (value.double() - truth).norm(), truth.norm()
        assert error <= BOUNDS[problem.x.dtype] * size, f"{name}: {error / size}"


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    ("channels", "arguments"),
    [
        pytest.param((16, 24), {"kernel_size": 3, "num_atoms": 6, "size": (6, 9)}, id="3x3"),
        pytest.param((24, 16), {"kernel_size": 7, "num_atoms": 6, "size": (5, 7)}, id="7x7"),
        pytest.param((5, 3), {"geometry": Geometry(2, 1), "num_atoms": 3, "size": (9, 8)}, id="odd-channels"),
        pytest.param((6, 6), {"geometry": Geometry(1, 2, 2), "groups": 6}, id="depthwise"),
        pytest.param((150, 9), {"num_atoms": 1, "size": (3, 3)}, id="blocks-of-channels"),
        pytest.param((4, 140), {"num_atoms": 11, "size": (2, 5), "images": 1}, id="blocks-of-atoms"),
    ],
)
def test_error_of_each_dtype(dtype: torch.dtype, channels: tuple[int, int], arguments: dict) -> None:
    check(random_problem(in_channels=channels[0], out_channels=channels[1], dtype=dtype, **arguments))


def any_problem(seed: int) -> Arguments:
    """Geometries, groups and sizes as they come, single pixels and images smaller than the kernel among them."""
    r = random.Random(seed)
    kernel_size, groups = r.choice((1, 3, 3, 5)), r.choice((1, 1, 2, 3))
    stride, dilation = ((r.randint(1, 3), r.randint(1, 3)) for _ in range(2))
    size = (1, 1) if seed % 6 == 0 else (r.randint(1, 7), r.randint(1, 7))
    spans = [d * (kernel_size - 1) + 1 for d in dilation]
    least = [max(0, -(-(span - n) // 2)) for span, n in zip(spans, size, strict=True)]
    return random_problem(
        images=r.randint(1, 3),
        in_channels=groups * r.randint(1, 5),
        out_channels=groups * r.randint(1, 5),
        size=size,
        kernel_size=kernel_size,
        num_atoms=r.randint(1, 5),
        num_bases=r.randint(1, 4),
        geometry=Geometry(stride, (r.randint(least[0], least[0] + 2), r.randint(least[1], least[1] + 2)), dilation),
        groups=groups,
        dtype=torch.float32,
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(24))
def test_random_problems(seed: int) -> None:
    check(any_problem(seed))


@pytest.mark.skipif(ON_GPU, reason="watches the interpreter")
@pytest.mark.parametrize("seed", range(5))
def test_kernels_touch_only_their_tensors_and_write_each_element_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime import interpreter

    memory, run = interpreter._interpreter, Launch.__call__
    tensors: list[Tensor] = []
    stored: list[np.ndarray] = []

    def load(pointers: np.ndarray, mask: np.ndarray, *rest: Any) -> np.ndarray:
        used = pointers[mask.astype(bool)].astype(np.int64)
        assert np.logical_or.reduce([(used >= t.data_ptr()) & (used < t.data_ptr() + t.nbytes) for t in tensors]).all()
        return memory.load(pointers, mask, *rest)

    def store(pointers: np.ndarray, values: np.ndarray, mask: np.ndarray) -> None:
        stored.append(pointers[mask.astype(bool)].astype(np.int64))
        memory.store(pointers, values, mask)

    def watched(self: Launch) -> None:
        tensors[:] = [t for t in self.arguments.values() if isinstance(t, Tensor)]
        stored.clear()
        run(self)
        out = self.arguments["out"]
        places = out.data_ptr() + out.element_size() * np.arange(out.numel())
        assert np.array_equal(np.sort(np.concatenate(stored)), places)

    monkeypatch.setattr(interpreter, "_interpreter", SimpleNamespace(load=load, store=store))
    monkeypatch.setattr(Launch, "__call__", watched)
    monkeypatch.setattr(gpu_backend.Kernels, "block_pixels", lambda self, elements: 20)
    p = any_problem(seed)
    results(p, grad_like_output(p))
    assert tensors


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1, 3, 8, 25])
@pytest.mark.parametrize(
    "geometry",
    [
        pytest.param(Geometry(padding=1), id="same"),
        pytest.param(Geometry((3, 2), (2, 3), (1, 2)), id="all"),
        pytest.param(Geometry(4, 1), id="gaps"),  # input pixels that no window reaches
    ],
)
def test_blocks_do_not_change_results(pixels: int, geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that cut images, rows and columns, those that no window reaches among them."""
    monkeypatch.setattr(gpu_backend.Kernels, "block_pixels", lambda self, elements: pixels)
    check(random_problem(geometry=geometry, size=(6, 3) if pixels < 8 else (5, 6), dtype=torch.float32))


def test_no_images() -> None:
    got = results(random_problem(images=0, dtype=torch.float32), torch.zeros(0, 4, 5, 6))
    assert got[0].shape == (0, 4, 5, 6)
    assert not any(grad.any() for grad in got[1:])


def test_everything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory that starts as NaN; the kernels' own results too, taps beyond the kernel's included."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(1, device=DEVICE).isnan()
        check(random_problem(geometry=Geometry(3, 2, (1, 2)), num_atoms=3, size=(8, 7), dtype=torch.float32))
    finally:
        torch.use_deterministic_algorithms(was)
    g = torch.Generator().manual_seed(0)
    x, grad_z = torch.randn(1, 5, 6, 3, generator=g), torch.randn(30, 2, 3, generator=g)
    out = torch.full((30, 2, 16), torch.nan, device=DEVICE)
    outputs = Block(slice(0, 1), slice(0, 5), slice(0, 6))
    gpu_backend.Kernels().correlate(x.to(DEVICE), grad_z.to(DEVICE), outputs, PackageGeometry.of(3, padding=1), out)
    assert out[..., :9].isfinite().all()
    assert not out[..., 9:].any()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("into", ["x", "grad", "coefficients"])
def test_what_is_not_finite_reaches_what_depends_on_it(into: str, value: float) -> None:
    """No farther, and no less far: the results that are finite are those by definition."""
    geometry = Geometry(stride=(2, 1), padding=(3, 1), dilation=(1, 2))
    p = random_problem(size=(9, 11), kernel_size=5, geometry=geometry, dtype=torch.float32)
    p.bases[0, 0] = 0.0
    grad = grad_like_output(p)
    {"x": p.x[1, 2], "grad": grad[1, 3], "coefficients": p.coefficients[1, 1, 2]}[into][4, 3] = value
    got, want = results(p, grad), truths(p, grad)
    assert not all(t.isfinite().all() for t in want)
    for a, b in zip(got, want, strict=True):
        finite = b.isfinite()
        assert torch.equal(a.isfinite(), finite)
        torch.testing.assert_close(a[finite].double(), b[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_programs_that_take_all_channels(kernel_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles as wide layers in halves have them, several products to a program; infinities in one of these."""
    monkeypatch.setattr(launch, "_BUSY", 1)
    shape = {"in_channels": 192, "out_channels": 136, "num_atoms": 6, "num_bases": 6}
    geometry = Geometry(padding=kernel_size // 2)
    p = random_problem(images=1, size=(3, 6), kernel_size=kernel_size, geometry=geometry, dtype=torch.float16, **shape)
    check(p)
    p.x[0, 150, 1, 0] = torch.inf
    got, want = results(p, grad_like_output(p))[0], truths(p, grad_like_output(p))[0]
    finite = want.isfinite()
    assert torch.equal(got.isfinite(), finite)
    assert finite.any() and not finite.all()
    error, size = (got[finite].double() - want[finite]).norm(), want[finite].norm()
    assert error <= BOUNDS[torch.float16] * size


def test_results_repeat_bit_for_bit() -> None:
    p = random_problem(in_channels=16, out_channels=16, size=(8, 8), kernel_size=5, dtype=torch.float32)
    grad = grad_like_output(p)
    for once, again in zip(results(p, grad), results(p, grad), strict=True):
        assert torch.equal(once, again)


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(lambda t: t.transpose(0, -1).contiguous().transpose(0, -1), id="transposed"),
        pytest.param(lambda t: t.repeat_interleave(2, dim=-1)[..., ::2], id="strided"),
        pytest.param(lambda t: t[:1].expand_as(t), id="expanded"),
    ],
)
def test_layouts(layout: Callable[[Tensor], Tensor]) -> None:
    """Every tensor and the incoming gradient laid out anew, against the oracle on the same numbers."""
    plain = random_problem(in_channels=4, groups=2, dtype=torch.float32)
    p = Arguments(*map(layout, plain.tensors[:4]), *plain[4:])
    grad = layout(grad_like_output(p))
    leaves = [t.to(DEVICE).requires_grad_() for t in p.tensors]
    y = adaptive_conv2d(*leaves, *p[5:], backend="triton")
    got = [y, *torch.autograd.grad(y, leaves, grad.to(DEVICE))]
    for value, truth in zip(got, truths(p, grad), strict=True):
        torch.testing.assert_close(value.cpu().double(), truth, rtol=1e-4, atol=1e-4)


def test_compiles_as_one_graph() -> None:
    p = random_problem(dtype=torch.float32)
    compiled = torch.compile(adaptive_conv2d, fullgraph=True, backend="aot_eager")
    y = compiled(*on_device(p), backend="triton")
    torch.testing.assert_close(
        y.detach().cpu().double(), oracle.adaptive_conv2d(*p.tensors, p.geometry), rtol=1e-4, atol=1e-4
    )


@pytest.mark.skipif(not ON_GPU, reason="needs a GPU: more than 2³¹ elements")
def test_offsets_beyond_32_bits() -> None:
    """The last image of a tensor that is larger than 32 bits can index gives what it gives alone."""
    images, channels = 2**31 // (8 * 8 * 64) + 1, 64
    x = torch.empty(images, 8, 8, channels, dtype=torch.bfloat16, device=DEVICE)
    x[-1].normal_()
    atoms = torch.randn(64, 2, 16, device=DEVICE).bfloat16()
    last, alone = (Block(slice(n - 1, n), slice(0, 8), slice(0, 8)) for n in (images, 1))
    geometry, out = PackageGeometry.of(3, padding=1), torch.empty(2, 64, 2, channels, dtype=x.dtype, device=DEVICE)
    gpu_backend.Kernels().convolve(x, atoms, last, geometry, out[0])
    gpu_backend.Kernels().convolve(x[-1:].clone(), atoms, alone, geometry, out[1])
    assert torch.equal(out[0], out[1])
