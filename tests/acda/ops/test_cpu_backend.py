"""What only the compiled CPU backend has: tiles of several sizes, threads, forks, numba itself."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from acda import adaptive_conv2d
from acda.ops import functional
from acda.ops.cpu import backend as cpu_backend
from acda.ops.cpu import threads
from tests.support import oracle
from tests.support.oracle import Geometry, error_ratio
from tests.support.problems import Arguments, random_problem


def results(problem: Arguments, backend: str = "cpu") -> list[Tensor]:
    """Output, and gradients for a fixed random gradient of the output."""
    leaves = problem.requiring_grad()
    y = adaptive_conv2d(*leaves, backend=backend)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves.tensors, grad)]


def random_arguments(rng: Random) -> dict[str, Any]:
    def pair(low: int, high: int) -> tuple[int, int]:
        return rng.randint(low, high), rng.randint(low, high)

    groups = rng.choice([1, 1, 2, 3])
    side = rng.choice([1, 3, 5, 7])
    geometry = Geometry(pair(1, 3), pair(0, 4), pair(1, 3))
    reach = [d * (side - 1) + 1 - 2 * p for d, p in zip(geometry.dilation, geometry.padding, strict=True)]
    return {
        "images": rng.randint(1, 3),
        "in_channels": groups * rng.randint(1, 40),
        "out_channels": groups * rng.randint(1, 40),
        "size": tuple(rng.randint(max(1, least), max(1, least) + 8) for least in reach),
        "kernel_size": side,
        "num_atoms": rng.randint(1, 14),
        "num_bases": rng.randint(1, 20),
        "geometry": geometry,
        "groups": groups,
        "seed": rng.randint(0, 999),
    }


# Each number of atoms has loops of its own to compile.
SEEDS = [seed if seed < 6 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(30)]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_arguments_with_poisoned_memory(seed: int, backend: str, poisoned_memory: None) -> None:
    """Any stride, padding, dilation, groups and numbers of channels and atoms; fresh memory is full of NaN."""
    problem = random_problem(**random_arguments(Random(seed)))
    leaves = problem.requiring_grad()
    truth = oracle.adaptive_conv2d(*leaves.tensors, problem.geometry)
    grad = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).double()
    expected = [truth, *torch.autograd.grad(truth, leaves.tensors, grad)]
    for got, want in zip(results(problem, backend), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 63, 64, 65, 130])
@pytest.mark.parametrize("num_atoms", [1, 5, 6, 7, 13])
def test_channels_and_atoms_that_do_and_do_not_fill_a_tile(channels: int, num_atoms: int, backend: str) -> None:
    problem = random_problem(
        in_channels=channels, out_channels=channels + 1, num_atoms=num_atoms, size=(4, 5), dtype=torch.float32
    )
    leaves = problem.requiring_grad()
    truth = oracle.adaptive_conv2d(*leaves.tensors, problem.geometry)
    grad = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).double()
    expected = [truth, *torch.autograd.grad(truth, leaves.tensors, grad)]
    for got, want in zip(results(problem, backend), expected, strict=True):
        assert error_ratio(got, want) < 1e-5


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", ["coefficients", "weight", "gradient"])
def test_nan_and_infinity_reach_what_they_reach_by_definition(where: str, value: float, backend: str) -> None:
    """What is not finite in the definition is not finite here, in the output and in every gradient."""
    problem = random_problem(in_channels=20, kernel_size=3, size=(6, 7))
    if where != "gradient":
        getattr(problem, where).view(-1)[7] = value
    leaves = problem.requiring_grad()
    truth = oracle.adaptive_conv2d(*leaves.tensors, problem.geometry)
    grad = torch.ones_like(truth)
    if where == "gradient":
        grad[1, 2, 3, 4] = value
    expected = [truth, *torch.autograd.grad(truth, leaves.tensors, grad)]
    y = adaptive_conv2d(*leaves, backend=backend)
    for got, want in zip([y, *torch.autograd.grad(y, leaves.tensors, grad)], expected, strict=True):
        assert torch.equal(got.isfinite(), want.isfinite())


@pytest.fixture(params=["OpenMP", "Python"])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The threads that loops run on: PyTorch's, and those of a PyTorch with another OpenMP runtime than GNU's."""
    if request.param == "Python":
        monkeypatch.setattr(threads, "_parallel", None)
    elif threads._parallel is None:
        pytest.skip("this PyTorch does not use GNU's OpenMP runtime")
    name: str = request.param
    return name


@pytest.mark.parametrize("number", [2, 3, 5])
def test_threads_give_what_one_gives(number: int, pool: str, backend: str) -> None:
    problem = random_problem(in_channels=24, out_channels=24, size=(17, 13), kernel_size=5, dtype=torch.float64)
    alone = results(problem, backend)
    torch.set_num_threads(number)
    for got, want in zip(results(problem, backend), alone, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_several_threads_may_call_at_once(backend: str) -> None:
    problems = [random_problem(in_channels=24, size=(15, 15), kernel_size=5, seed=seed) for seed in range(8)]
    expected = [results(problem, backend) for problem in problems]
    torch.set_num_threads(2)
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda p: results(p, backend), problems), expected, strict=True):
            for a, b in zip(got, want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def _send_results(connection: Connection, problem: Arguments) -> None:
    # The pass that has no matrix products of PyTorch in it: those would wait for its threads, which did not fork along.
    connection.send((threads.num_threads(), adaptive_conv2d(*problem, backend="cpu").tolist()))


def test_forked_process_runs_alone_though_its_parent_used_threads() -> None:
    problem = random_problem(in_channels=24, size=(15, 15), kernel_size=5)
    torch.set_num_threads(2)
    expected = adaptive_conv2d(*problem, backend="cpu")
    assert threads.num_threads() == 2
    context = get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_send_results, args=(theirs, problem))
    child.start()
    assert ours.poll(30), "the forked process hangs"
    number, got = ours.recv()
    child.join()
    assert number == 1
    torch.testing.assert_close(torch.tensor(got, dtype=torch.float64), expected)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.empty(1, device="meta"), "it is for the CPU, x is on meta"),
        (torch.empty(1, dtype=torch.float8_e5m2), r"it computes in float32 and float64, x is torch.float8_e5m2"),
    ],
)
def test_what_cannot_run_is_explained(x: Tensor, reason: str) -> None:
    assert cpu_backend.cannot_run(x) == reason


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cpu_backend._import_numba.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(functional, "_logged", set())
    yield
    cpu_backend._import_numba.cache_clear()


def test_without_numba_the_reference_runs(no_numba: None) -> None:
    problem = random_problem()
    with pytest.raises(RuntimeError, match="backend='cpu' cannot run: numba cannot be imported"):
        adaptive_conv2d(*problem, backend="cpu")
    assert torch.equal(adaptive_conv2d(*problem), adaptive_conv2d(*problem, backend="reference"))


@pytest.fixture
def fresh_loops() -> Iterator[None]:
    """Loops are compiled anew, and once more afterwards."""
    from acda.ops.cpu import fused_loops, loops

    cached = [loop for module in (loops, fused_loops) for loop in vars(module).values() if hasattr(loop, "cache_clear")]
    for loop in cached:
        loop.cache_clear()
    yield
    for loop in cached:
        loop.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("features", [{"avx2": True}, {"neon": True}, {}])
def test_tiles_for_other_processors(
    features: dict[str, bool], backend: str, fresh_loops: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of other sizes give the same, whichever instructions they are compiled to here."""
    from acda.ops.cpu import compiling

    monkeypatch.setattr(compiling, "get_host_cpu_features", lambda: features)
    problem = random_problem(in_channels=37, out_channels=29, num_atoms=7, dtype=torch.float32)
    for got, want in zip(results(problem, backend), results(problem, "reference"), strict=True):
        assert error_ratio(got, want) < 1e-5
