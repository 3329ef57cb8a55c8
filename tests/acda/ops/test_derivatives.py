"""Derivatives of ``adaptive_conv2d`` of any order, in both modes and under functorch, against finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from acda import ACDAConv2d, adaptive_conv2d
from tests.support.oracle import Geometry
from tests.support.problems import Arguments, random_problem

PROBLEMS = {
    "plain": {},
    "strided": {"geometry": Geometry((2, 1), (1, 2), (1, 2)), "size": (5, 7)},
    "grouped": {"groups": 2, "in_channels": 4, "geometry": Geometry(1, 0), "size": (4, 4)},
    "one pixel": {"images": 1, "size": (1, 1), "kernel_size": 5},
}
OPERANDS = ("x", "coefficients", "bases", "weight", "bias")


def of_tensors(p: Arguments, backend: str) -> Callable[..., Tensor]:
    """The operator as a function of its tensors alone."""
    return lambda *tensors: adaptive_conv2d(*tensors, *p[5:], backend=backend)


@pytest.fixture(params=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> Arguments:
    options: dict[str, Any] = PROBLEMS[request.param]
    return random_problem(**options)


def test_first_derivatives(problem: Arguments, backend: str) -> None:
    p = problem.requiring_grad()
    function = of_tensors(p, backend)
    assert gradcheck(function, p.tensors, check_forward_ad=True, fast_mode=True)
    assert gradcheck(function, p.tensors, check_batched_grad=True, fast_mode=True)
    assert gradcheck(function, p.tensors, check_forward_ad=True, check_batched_forward_grad=True, fast_mode=True)


def test_second_derivatives(problem: Arguments, backend: str) -> None:
    p = problem.requiring_grad()
    function = of_tensors(p, backend)
    assert gradgradcheck(function, p.tensors, check_fwd_over_rev=True, check_batched_grad=True, fast_mode=True)


def test_second_derivatives_without_bias_and_of_some_operands(backend: str) -> None:
    p = random_problem()
    for position in range(4):
        tensors = [t.requires_grad_(i == position) for i, t in enumerate(random_problem().tensors[:4])]
        assert gradgradcheck(lambda *t: adaptive_conv2d(*t, None, *p[5:], backend=backend), tensors, fast_mode=True)


@pytest.mark.parametrize("position", range(5), ids=OPERANDS)
def test_jvp_of_one_operand_is_the_difference(position: int, backend: str) -> None:
    """The operator is linear in each, so differences are exact."""
    p, direction = random_problem(), random_problem(seed=1).tensors[position]

    def function(tensor: Tensor) -> Tensor:
        tensors = [*p.tensors[:position], tensor, *p.tensors[position + 1 :]]
        return of_tensors(p, backend)(*tensors)

    _, tangent = jvp(function, (p.tensors[position],), (direction,))
    torch.testing.assert_close(tangent, function(p.tensors[position] + direction) - function(p.tensors[position]))
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(function(forward_ad.make_dual(p.tensors[position], direction)))
    torch.testing.assert_close(dual.tangent, tangent)


def test_no_images(backend: str) -> None:
    p = random_problem(images=0)
    _, tangent = jvp(of_tensors(p, backend), p.tensors, p.tensors)
    assert tangent.shape == (0, 4, 5, 6)
    grads = vmap(grad(lambda w: of_tensors(p, backend)(*p[:3], w, p.bias).sum()))(torch.stack([p.weight] * 3))
    torch.testing.assert_close(grads, torch.zeros(3, *p.weight.shape, dtype=torch.float64))


@pytest.mark.parametrize(
    "mapped",
    [
        {"x": 0},
        {"coefficients": 2},
        {"x": 3, "coefficients": 0},
        {"weight": 0},
        {"bases": 1, "x": 0},
        {"bias": 0},
        dict.fromkeys(OPERANDS, 0),
    ],
    ids=str,
)
def test_vmap_equals_a_loop(mapped: dict[str, int], backend: str) -> None:
    """Outputs, and gradients of the operands that are mapped over and of those that are shared."""
    p = random_problem(groups=1)
    tensors, dims = [], []
    for name, tensor in zip(OPERANDS, p.tensors, strict=True):
        several = torch.stack([tensor, tensor.flip(-1), 2 * tensor], mapped[name]) if name in mapped else tensor
        tensors.append(several)
        dims.append(mapped.get(name))
    function = of_tensors(p, backend)

    def gradients(*one: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = grad(lambda *t: function(*t).square().sum(), argnums=tuple(range(5)))(*one)
        return result

    got, got_gradients = vmap(function, tuple(dims))(*tensors), vmap(gradients, tuple(dims))(*tensors)
    for i in range(3):
        one = [t if d is None else t.select(d, i) for t, d in zip(tensors, dims, strict=True)]
        torch.testing.assert_close(got[i], function(*one))
        for name, ours, theirs in zip(OPERANDS, got_gradients, gradients(*one), strict=True):
            torch.testing.assert_close(ours[i], theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_jacobians_agree(backend: str) -> None:
    p = random_problem(images=1, size=(2, 3))
    for position in range(5):
        function = of_tensors(p, backend)
        forward, reverse = (jac(function, position)(*p.tensors) for jac in (jacfwd, jacrev))
        torch.testing.assert_close(forward, reverse)


def test_hessian_of_the_square(backend: str) -> None:
    """Of ½‖y‖² with y linear in the weight it is JᵀJ."""
    p = random_problem(images=1, size=(2, 3))

    def output(weight: Tensor) -> Tensor:
        return of_tensors(p, backend)(*p[:3], weight, None).flatten()

    jacobian = jacrev(output)(p.weight).flatten(1)
    curvature = hessian(lambda w: output(w).square().sum() / 2)(p.weight)
    torch.testing.assert_close(curvature.reshape(p.weight.numel(), -1), jacobian.T @ jacobian)


def test_vjp(backend: str) -> None:
    p = random_problem().requiring_grad()
    y, pull = vjp(of_tensors(p, backend), *(t.detach() for t in p.tensors))
    cotangent = torch.randn_like(y)
    of_tensors(p, backend)(*p.tensors).backward(cotangent)
    for got, tensor in zip(pull(cotangent), p.tensors, strict=True):
        torch.testing.assert_close(got, tensor.grad)


@pytest.mark.parametrize("transform", [jacrev, jacfwd, grad], ids=lambda transform: transform.__name__)
def test_compiled_under_a_transform(transform: Callable[..., Any]) -> None:
    """It runs uncompiled, since compilers see the operator alone, which drops tangents."""
    p = random_problem(images=1, size=(2, 3))
    function = transform(lambda x: of_tensors(p, "auto")(x, *p[1:5]).sum())
    torch.testing.assert_close(torch.compile(function, backend="aot_eager")(p.x), function(p.x))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_gradients_of_a_layer_for_each_sample(padding_mode: Any) -> None:
    layer = ACDAConv2d(3, 4, 3, padding=1, padding_mode=padding_mode, dtype=torch.float64).eval()
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    images = torch.randn(3, 3, 5, 6, dtype=torch.float64)

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(layer, parameters, (image[None],)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, images)
    for i, image in enumerate(images):
        for name, wanted in grad(loss)(parameters, image).items():
            torch.testing.assert_close(each[name][i], wanted)


def test_jvp_of_a_layer_in_training() -> None:
    # BatchNorm's running statistics change in place, which functorch refuses.
    norm = partial(nn.BatchNorm2d, track_running_stats=False)
    layer = ACDAConv2d(3, 4, 3, padding=1, dtype=torch.float64, norm=norm)
    x, v = torch.randn(2, 2, 3, 5, 6, dtype=torch.float64)
    _, tangent = jvp(layer, (x,), (v,))
    step = 1e-6
    difference = (layer(x + step * v) - layer(x - step * v)) / (2 * step)
    torch.testing.assert_close(tangent, difference, rtol=1e-6, atol=1e-7)
