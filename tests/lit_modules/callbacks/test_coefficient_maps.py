from pathlib import Path

import pytest
import torch
import torchvision
from lightning.pytorch import Trainer
from torch import nn

from acda import ACDAConv2d, convert_conv2d
from acda.models import LeNet
from lit_modules import ClassificationTask
from lit_modules.callbacks import CoefficientMaps, PictureLogger
from lit_modules.callbacks.coefficient_maps import draw_coefficients
from tests.lit_modules.conftest import logged_images, small_digits


def test_coefficient_maps_of_each_layer_reach_tensorboard(trainer: Trainer, tmp_path: Path) -> None:
    network = LeNet(10, 1, 8, ACDAConv2d, kernel_size=3, padding=1)
    trainer.limit_train_batches = trainer.limit_val_batches = 2
    trainer.fit(ClassificationTask(network, 10), small_digits())
    images = logged_images(tmp_path / "run")
    assert {"coefficients/features.0", "coefficients/features.3"} <= images
    assert all(not layer.generator._forward_hooks for layer in network.modules() if isinstance(layer, ACDAConv2d))


def test_coefficient_maps_work_with_any_network(trainer: Trainer, tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 3, padding=1)
    convert_conv2d(network, names="layer1.0.*")
    trainer.limit_test_batches = 1
    trainer.test(ClassificationTask(network, 10), small_digits(), verbose=False)
    assert {"coefficients/layer1.0.conv1", "coefficients/layer1.0.conv2"} <= logged_images(tmp_path / "run")
    assert (tmp_path / "run" / "pictures" / "coefficients" / "layer1.0.conv1.png").exists()


def test_network_without_adaptive_layers_logs_no_maps(trainer: Trainer, tmp_path: Path) -> None:
    trainer.limit_test_batches = 1
    trainer.test(ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1), 10), small_digits(), verbose=False)
    assert not any(tag.startswith("coefficients/") for tag in logged_images(tmp_path / "run"))


@pytest.mark.parametrize("arguments", [{"num_images": -1}, {"every_n_epochs": 0}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        CoefficientMaps(**arguments)
    with pytest.raises(ValueError, match=f"{name.replace('images', 'pictures')} must be at least"):
        PictureLogger(**{name.replace("images", "pictures"): arguments[name]})


def test_maps_are_the_same_with_and_without_the_callback(trainer: Trainer) -> None:
    """Drawing must not change what is trained: no random numbers, no running statistics."""
    states = []
    for images in (0, 4):
        torch.manual_seed(0)
        task = ClassificationTask(LeNet(10, 1, 8, ACDAConv2d, kernel_size=3, padding=1), 10)
        once = Trainer(
            max_epochs=1,
            limit_train_batches=2,
            limit_val_batches=1,
            callbacks=[CoefficientMaps(images)],
            logger=False,
            enable_checkpointing=False,
            accelerator="cpu",
        )
        once.fit(task, small_digits())
        states.append(task.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_coefficient_picture_shows_each_image_and_scale() -> None:
    maps = {3: torch.rand(2, 5, 5), 7: torch.rand(2, 5, 5)}
    images = torch.rand(2, 3, 20, 20)
    picture = draw_coefficients(images, maps)
    one = draw_coefficients(images[:1], {scale: m[:1] for scale, m in maps.items()})
    assert picture.shape[2] == one.shape[2]
    assert 2 * one.shape[1] < picture.shape[1] < 2 * one.shape[1] + 20
    assert torch.equal(picture[:, : one.shape[1]], one)
