from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from acda import ACDAConv2d, convert_conv2d
from acda.models import LeNet
from datamodules import DigitsDataModule
from lit_modules import ClassificationTask
from lit_modules.callbacks import CoefficientMaps, PictureLogger
from lit_modules.output import RowWriter, write_csv


def logged_images(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return set(events.Tags()["images"])


def small_digits() -> DigitsDataModule:
    return DigitsDataModule(batch_size=16)


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


def test_pictures_stop_at_their_number(tmp_path: Path, trainer: Trainer) -> None:
    trainer.callbacks.append(PictureLogger(num_pictures=3))
    trainer.test(ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1), 10), small_digits(), verbose=False)
    assert len([tag for tag in logged_images(tmp_path / "run") if tag.startswith("test_pictures/")]) == 3


def test_cost_of_the_network_is_printed_once(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.limit_train_batches = trainer.limit_val_batches = 1
    trainer.fit(ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1, channels=(6, 16)), 10), small_digits())
    output = capsys.readouterr().out
    convolutions = 6 * 9 * 64 + 16 * 6 * 9 * 16
    linear = 16 * 4 * 120 + 120 * 84 + 84 * 10
    assert output.count("LeNet on 1×1×8×8") == 1
    assert f"{convolutions + linear:,}" in output


@pytest.mark.parametrize("arguments", [{"num_images": -1}, {"every_n_epochs": 0}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        CoefficientMaps(**arguments)
    with pytest.raises(ValueError, match=f"{name.replace('images', 'pictures')} must be at least"):
        PictureLogger(**{name.replace("images", "pictures"): arguments[name]})


def fake_process(rank: int, world_size: int) -> Trainer:
    strategy = SimpleNamespace(barrier=lambda name: None)
    return SimpleNamespace(global_rank=rank, world_size=world_size, is_global_zero=rank == 0, strategy=strategy)


def test_rows_of_all_processes_are_joined_once_each(tmp_path: Path) -> None:
    """Two processes on three images, of which a padding sampler gives the first to both."""
    second = RowWriter(tmp_path / "rows.csv", ["id", "value"], fake_process(1, 2))
    first = RowWriter(tmp_path / "rows.csv", ["id", "value"], fake_process(0, 2))
    first.write([["a", 1], ["c", 3]])
    second.write([["b, with comma", 2], ["a", 1]])
    second.finish()
    assert not (tmp_path / "rows.csv").exists()
    first.finish()
    assert (tmp_path / "rows.csv").read_text().splitlines() == ["id,value", "a,1", '"b, with comma",2', "c,3"]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_interrupted_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, ["a"], [[1]])

    def rows() -> object:
        yield [2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(path, ["a"], rows())
    assert path.read_text().splitlines() == ["a", "1"]


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
