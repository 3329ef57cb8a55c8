"""Networks whose parameters are sharded over two processes (FSDP2) compute what they compute whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from acda import ACDAConv2d
from acda.models import AdResNet
from acda.models.residual import DynamicBottleneck
from tests.support.oracle import error_ratio

RANKS = range(2)


def layer() -> nn.Module:
    """Its five filters are shared out unequally."""
    return ACDAConv2d(3, 5, 5, stride=2, padding=2)


def network() -> nn.Module:
    return AdResNet(7, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 8, 8, 8), small_images=True)


MODULES: dict[str, Callable[[], nn.Module]] = {"layer": layer, "network": network}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name]()


def image(rank: int) -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(rank))


def loss(output: Tensor) -> Tensor:
    return (output - 1).square().mean()


def optimizer(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.full_tensor() if isinstance(t, DTensor) else t.clone() for name, t in tensors.items()}


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def sharded(rank: int, folder: Path) -> None:
    """One process of two: saves output, gradients and weights after a step, made whole."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(RANKS))
    mesh = init_device_mesh("cpu", (len(RANKS),))
    for name in MODULES:
        module = made(name)
        for block in module.modules():
            if isinstance(block, DynamicBottleneck):
                fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
        step = optimizer(module)
        output = module(image(rank))
        loss(output).backward()
        result: dict[str, Any] = {"output": output.detach(), "gradients": whole(gradients(module))}
        step.step()
        torch.save({**result, "weights": whole(module.state_dict())}, folder / f"{name}{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the results of both processes."""
    path = tmp_path_factory.mktemp("sharded")
    spawn(sharded, (path,), nprocs=len(RANKS))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_two_processes_with_half_the_parameters_each_make_the_step_of_one(name: str, folder: Path) -> None:
    """Each with images of its own: gradients are the mean over both."""
    module = made(name)
    step = optimizer(module)
    outputs = [module(image(rank)) for rank in RANKS]
    torch.stack([loss(output) for output in outputs]).mean().backward()
    true_gradients = whole(gradients(module))
    step.step()
    trained = {key for key, _ in module.named_parameters()}
    for rank in RANKS:
        result = torch.load(folder / f"{name}{rank}.pt")
        assert error_ratio(result["output"], outputs[rank]) < 1e-6
        assert result["gradients"].keys() == true_gradients.keys()
        for key, gradient in true_gradients.items():
            assert error_ratio(result["gradients"][key], gradient) < 1e-6, key
        assert list(result["weights"]) == list(module.state_dict())
        for key in trained:
            assert error_ratio(result["weights"][key], module.state_dict()[key]) < 1e-6, key
