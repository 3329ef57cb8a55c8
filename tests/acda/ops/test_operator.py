"""Values and gradients of ``adaptive_conv2d`` against the definition in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from acda import adaptive_conv2d
from acda.ops import reference
from acda.ops.cpu import pointers
from tests.support import oracle
from tests.support.oracle import Geometry, error_ratio
from tests.support.problems import Arguments, random_problem

GEOMETRIES = [
    pytest.param(Geometry(padding=1), 1, id="same"),
    pytest.param(Geometry(stride=(2, 1), padding=(0, 2)), 1, id="stride-padding"),
    pytest.param(Geometry(padding="same", dilation=(1, 2)), 2, id="dilation-groups"),
    pytest.param(Geometry(stride=3, padding=3, dilation=2), 4, id="all"),
]
# Elements in a block: single pixels, parts of rows, rows, images, everything.
BLOCKS = [1, 27 * 4, 27 * 4 * 9, 27 * 4 * 70, 2**21]


def gradcheck(problem: Arguments, backend: str) -> bool:
    def run(*tensors: Tensor) -> Tensor:
        return adaptive_conv2d(*tensors, *problem[5:], backend=backend)

    return torch.autograd.gradcheck(run, problem.requiring_grad().tensors)


@pytest.mark.parametrize(("geometry", "groups"), GEOMETRIES)
def test_gradcheck(geometry: Geometry, groups: int, backend: str) -> None:
    assert gradcheck(random_problem(in_channels=4, geometry=geometry, groups=groups, size=(3, 4)), backend)


@pytest.mark.parametrize("elements", BLOCKS)
@pytest.mark.parametrize("geometry", [Geometry(padding=1), Geometry(stride=2, padding=2, dilation=(2, 1))])
def test_blocks_do_not_change_results(
    elements: int, geometry: Geometry, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that cut images, rows and columns, and that end unevenly, give the value and gradients of the whole."""
    problem = random_problem(images=3, in_channels=12, size=(7, 9), geometry=geometry, groups=2).requiring_grad()
    truth = oracle.adaptive_conv2d(*problem.tensors, geometry)
    grad = torch.randn_like(truth)
    expected = torch.autograd.grad(truth, problem.tensors, grad)
    for module in (reference, pointers):
        monkeypatch.setattr(module, "_BLOCK_ELEMENTS", elements)
    y = adaptive_conv2d(*problem, backend=backend)
    torch.testing.assert_close(y, truth, rtol=1e-12, atol=1e-12)
    for got, want in zip(torch.autograd.grad(y, problem.tensors, grad), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_gradcheck_in_blocks(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reference, pointers):
        monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 27 * 2)
    assert gradcheck(random_problem(images=1, size=(2, 5)), backend)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize(
    ("kernel_size", "in_channels", "out_channels", "geometry", "groups"),
    [
        pytest.param(3, 16, 24, Geometry(padding=1), 1, id="3x3"),
        pytest.param(7, 16, 24, Geometry(padding=3), 1, id="7x7"),
        pytest.param(7, 5, 3, Geometry(stride=2, padding=3), 1, id="odd-channels"),
        pytest.param(5, 12, 12, Geometry(padding=4, dilation=2), 12, id="depthwise"),
        pytest.param(11, 8, 8, Geometry(padding=5), 1, id="11x11"),  # many taps add up in the gradient of x
    ],
)
def test_error_of_each_dtype(
    dtype: torch.dtype,
    bound: float,
    kernel_size: int,
    in_channels: int,
    out_channels: int,
    geometry: Geometry,
    groups: int,
    backend: str,
) -> None:
    problem = random_problem(
        in_channels=in_channels,
        out_channels=out_channels,
        size=(13, 12),
        kernel_size=kernel_size,
        num_atoms=6,
        num_bases=18,
        geometry=geometry,
        groups=groups,
        dtype=dtype,
    ).requiring_grad()
    truth = oracle.adaptive_conv2d(*problem.tensors, geometry)  # of the same rounded numbers
    y = adaptive_conv2d(*problem, backend=backend)
    assert y.dtype == dtype
    assert error_ratio(y, truth) < bound
    grad = torch.randn(y.shape).to(dtype)
    expected = torch.autograd.grad(truth, problem.tensors, grad.double())
    for got, want in zip(torch.autograd.grad(y, problem.tensors, grad), expected, strict=True):
        assert got.dtype == dtype
        assert error_ratio(got, want) < bound


def test_filters_equal_at_every_pixel_are_a_convolution(backend: str) -> None:
    """Coefficients expanded over images and pixels make ``conv2d`` with the one filter they compose."""
    p = random_problem(in_channels=6, out_channels=8, size=(30, 31), kernel_size=5, geometry=Geometry(2, 2), groups=2)
    expanded = p.coefficients[:1, :, :, :1, :1].expand_as(p.coefficients).detach().requires_grad_()
    filters = oracle.compose_filters(expanded[:1, ..., :1, :1], p.bases, p.weight)[0, ..., 0, 0]
    y = adaptive_conv2d(p.x, expanded, *p[2:], backend=backend)
    torch.testing.assert_close(y, F.conv2d(p.x, filters, p.bias, 2, 2, 1, 2), rtol=1e-10, atol=1e-10)


def test_no_images(backend: str) -> None:
    problem = random_problem(images=0).requiring_grad()
    y = adaptive_conv2d(*problem, backend=backend)
    assert y.shape == (0, 4, 5, 6)
    for grad, tensor in zip(torch.autograd.grad(y.sum(), problem.tensors), problem.tensors, strict=True):
        assert grad.shape == tensor.shape
        assert not grad.any()


def test_one_pixel_smaller_than_the_kernel(backend: str) -> None:
    p = random_problem(size=(1, 1), kernel_size=7)
    torch.testing.assert_close(adaptive_conv2d(*p, backend=backend), oracle.adaptive_conv2d(*p.tensors, p.geometry))


@pytest.mark.parametrize("position", [(0, 0), (4, 5), (8, 10)])
def test_nan_reaches_exactly_the_outputs_whose_window_holds_it(position: tuple[int, int], backend: str) -> None:
    geometry = Geometry(stride=(2, 1), padding=(3, 1), dilation=(1, 2))
    p = random_problem(size=(9, 11), kernel_size=5, geometry=geometry)
    p.x[1, 2, *position] = torch.nan
    p.bases[0, 0] = 0.0  # a tap that is zero does not stop NaN, as in any convolution
    mark = torch.zeros(1, 1, 9, 11)
    mark[0, 0, *position] = 1
    reached = F.conv2d(mark, torch.ones(1, 1, 5, 5), None, *geometry)[0, 0] > 0
    assert reached.any()
    assert not reached.all()
    y = adaptive_conv2d(*p, backend=backend)
    assert not y[0].isnan().any()
    assert torch.equal(y[1].isnan(), reached.expand_as(y[1]))


def _transposed(t: Tensor) -> Tensor:
    return t.transpose(0, -1).contiguous().transpose(0, -1)


def _strided(t: Tensor) -> Tensor:
    return t.repeat_interleave(2, dim=-1)[..., ::2]


def _channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t


@pytest.mark.parametrize("layout", [_channels_last, _transposed, _strided])
def test_layouts_of_inputs_and_incoming_gradient(layout: Callable[[Tensor], Tensor], backend: str) -> None:
    plain = random_problem(in_channels=4, groups=2).requiring_grad()
    y = adaptive_conv2d(*plain, backend=backend)
    grad = torch.randn(y.shape, dtype=y.dtype)
    expected = torch.autograd.grad(y, plain.tensors, grad)
    tensors = tuple(layout(t.detach()).requires_grad_() for t in plain.tensors)
    other = adaptive_conv2d(*tensors, *plain[5:], backend=backend)
    torch.testing.assert_close(other, y, rtol=1e-12, atol=1e-12)
    for got, want in zip(torch.autograd.grad(other, tensors, layout(grad)), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_expanded_inputs_and_incoming_gradient(backend: str) -> None:
    """Expanded tensors get the gradient of the copies they stand for, summed."""
    p = random_problem(in_channels=4).requiring_grad()
    small = [p.x[:1].detach().requires_grad_(), p.coefficients[:1].detach().requires_grad_()]
    expanded = (small[0].expand_as(p.x), small[1].expand_as(p.coefficients))
    copies = [t.detach().contiguous().requires_grad_() for t in expanded]
    rest = tuple(t.detach() for t in p[2:5])
    y, truth = (
        adaptive_conv2d(*expanded, *rest, *p[5:], backend=backend),
        adaptive_conv2d(*copies, *rest, *p[5:], backend=backend),
    )
    assert torch.equal(y, truth)
    grad = torch.ones((), dtype=y.dtype).expand_as(y)
    for got, want in zip(
        torch.autograd.grad(y, small, grad), torch.autograd.grad(truth, copies, grad.contiguous()), strict=True
    ):
        torch.testing.assert_close(got, want.sum(dim=0, keepdim=True), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_repeat_bit_for_bit(threads: int, backend: str) -> None:
    problem = random_problem(in_channels=16, out_channels=16, size=(20, 20), kernel_size=7, dtype=torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runs = []
        for _ in range(2):
            p = problem.requiring_grad()
            y = adaptive_conv2d(*p, backend=backend)
            runs.append((y, *torch.autograd.grad(y.square().sum(), p.tensors)))
    finally:
        torch.set_num_threads(before)
    for once, again in zip(*runs, strict=True):
        assert torch.equal(once, again)


def test_only_asked_for_gradients_are_computed(backend: str) -> None:
    """Whichever subset is asked for, its gradients are those of all together."""
    problem = random_problem()
    leaves = problem.requiring_grad()
    expected = torch.autograd.grad(adaptive_conv2d(*leaves, backend=backend).sum(), leaves.tensors)
    for i in range(5):
        tensors = list(problem.tensors)
        tensors[i] = tensors[i].clone().requires_grad_()
        (got,) = torch.autograd.grad(adaptive_conv2d(*tensors, *problem[5:], backend=backend).sum(), tensors[i])
        torch.testing.assert_close(got, expected[i], rtol=1e-12, atol=1e-12)
