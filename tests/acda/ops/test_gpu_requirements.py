"""Which machines the Triton kernels run on, and what those that they do not run on are told and use instead."""

import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from acda import adaptive_conv2d
from acda.ops import basis_first, functional
from acda.ops.geometry import Geometry
from acda.ops.gpu import requirements
from acda.ops.problem import Problem
from tests.support.problems import random_problem

triton = pytest.importorskip("triton")
FLOAT = torch.float32


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has all that is needed, as if it had an H100; the folder of its programs."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(requirements, "ask_capability", lambda device: (9, 0))
    monkeypatch.setattr(requirements, "_triton_fault", requirements._find_triton_fault.__wrapped__)
    monkeypatch.setattr(triton, "__version__", "3.8.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "gcc").touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    return tmp_path


def reason(device: str = "cuda:1", dtype: torch.dtype = FLOAT) -> str | None:
    """What is said of a tensor there."""
    return requirements.cannot_run(SimpleNamespace(device=torch.device(device), dtype=dtype))


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        *(((major, minor), None) for major, minor in ((8, 0), (8, 6), (8, 9), (9, 0), (10, 3), (12, 1))),
        ((7, 5), "it needs a GPU of compute capability 8.0 to 12.x, x is on one of 7.5"),
        ((13, 0), "it needs a GPU of compute capability 8.0 to 12.x, x is on one of 13.0"),
    ],
)
def test_architectures(capability: tuple[int, int], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "ask_capability", lambda device: capability)
    assert reason() == said


def test_devices_and_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(dtype=torch.bfloat16) is None
    assert reason(dtype=torch.float64) == "it computes in float32, bfloat16 and float16, x is torch.float64"
    assert reason("cpu") == "it needs an NVIDIA GPU, x is on cpu"
    assert reason("mps:0") == "it needs an NVIDIA GPU, x is on mps:0"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert reason() == "it needs an NVIDIA GPU, x is on one of AMD's (cuda:1, ROCm 6.4)"


@pytest.mark.parametrize("version", ["3.3.1", "3.4.0", "2.9", "3.5.1+git1234"])
def test_triton_that_is_too_old(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "__version__", version)
    assert reason() == f"it needs triton 3.6 or newer, {version} is installed"


@pytest.mark.parametrize("version", ["3.6.0", "3.10.0", "4.0.0+git1234"])
def test_triton_that_is_new_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "__version__", version)
    assert reason() is None


def test_no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "triton", None)
    assert str(reason()).startswith("triton cannot be imported (")


def test_no_compiler(as_on_a_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (as_on_a_gpu / "gcc").rename(as_on_a_gpu / "clang")
    assert reason() is None
    monkeypatch.setenv("CC", "no-such-compiler")
    assert reason() == "triton needs a C compiler, there is no no-such-compiler: install one, or set CC to one"
    monkeypatch.delenv("CC")
    (as_on_a_gpu / "clang").unlink()
    assert reason() == "triton needs a C compiler, there is no gcc or clang: install one, or set CC to one"


def test_no_headers(as_on_a_gpu: Path) -> None:
    (as_on_a_gpu / "Python.h").unlink()
    assert str(reason()).startswith("triton needs Python's headers, there is no ")


def test_compute_capability_is_a_constant_to_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, device))
    compiled = torch.compile(lambda x: x + sum(requirements.ask_capability(77)), fullgraph=True, backend="eager")
    assert compiled(torch.zeros(())) == 9 + 77


def test_a_named_backend_that_cannot_run_says_why() -> None:
    with pytest.raises(RuntimeError, match="backend='triton' cannot run: it needs an NVIDIA GPU, x is on cpu"):
        adaptive_conv2d(*random_problem(dtype=FLOAT), backend="triton")


def on_meta(kernel_size: int) -> Problem:
    """The paper's layer of 256 channels, six bases and six atoms, on a device that is no CPU."""
    x, coefficients = torch.empty(1, 256, 9, 9, device="meta"), torch.empty(1, 6, 6, 9, 9, device="meta")
    bases, weight = (torch.empty(*s, device="meta") for s in ((6, kernel_size, kernel_size), (256, 256, 6)))
    return Problem(x, coefficients, bases, weight, None, Geometry.of(kernel_size, padding="same"), 1)


@pytest.mark.parametrize(("kernel_size", "name"), [(3, "reference"), (5, "basis_first"), (7, "basis_first")])
def test_without_triton_a_gpu_takes_the_form_that_moves_and_computes_less(kernel_size: int, name: str) -> None:
    """Of 3×3 pixels to a window a copy is less than the results of six bases; of 5×5 it is more."""
    problem = on_meta(kernel_size)
    assert functional._choose("auto", problem) is functional._BACKENDS[name].operator
    here, there = basis_first.estimate(problem)
    assert (here < there) == (name == "basis_first")


def test_the_cpu_keeps_to_the_reference_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    p = random_problem()
    problem = Problem(*p.tensors, Geometry.of(3, p.stride, p.padding, p.dilation), p.groups)
    lame = functional._BACKENDS["cpu"]._replace(cannot_run=lambda x: "it is out")
    monkeypatch.setitem(functional._BACKENDS, "cpu", lame)
    assert functional._choose("auto", problem) is functional._BACKENDS["reference"].operator
