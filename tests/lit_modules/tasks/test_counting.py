import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from acda import CondConv2d
from acda.models import AdResNet, CrowdCounter
from datamodules.batches import CrowdBatch, PhotographBatch
from lit_modules import CountingTask
from lit_modules.callbacks import CoefficientMaps
from lit_modules.errors import UsageError
from lit_modules.losses import DensityLoss
from lit_modules.tasks.counting import sum_cells
from tests.support.crowds import NORMALISED, SCALE, Crowds, Seen, crowd, density_of, in_cells

HEADS = [(10.0, 9.0), (33.0, 12.0), (58.0, 11.0), (20.0, 30.0), (0.0, 37.0)]


def small_counter(**arguments: object) -> CrowdCounter:
    backbone = AdResNet(None, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 8), **arguments)
    return CrowdCounter(backbone, widths=(8, 8, 4), output_activation="softplus")


class Strided(nn.Module):
    """Says nothing about its strides."""

    def __init__(self, stride: int, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, stride, stride)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


def evaluated(task: CountingTask, image: Tensor) -> Tensor:
    task.eval()
    with torch.inference_mode():
        size, orientation = torch.tensor([image.shape[2:]]), torch.tensor([1])
        return task.predict_step(
            PhotographBatch(image, size, ["a"], ["stored"], orientation, *NORMALISED, ["heads"]), 0
        )


@pytest.mark.parametrize("cell_size", [1, 3, 4, 7])
def test_nothing_is_lost_in_summing_up_over_cells(cell_size: int) -> None:
    density = density_of(HEADS, 41, 67)
    cells = sum_cells(torch.from_numpy(density)[None, None], cell_size)[0, 0]
    np.testing.assert_allclose(cells.numpy(), in_cells(density, cell_size), atol=1e-14)
    assert cells.sum().item() == pytest.approx(len(HEADS), rel=1e-12)


@pytest.mark.parametrize("density_scale", [1.0, 100.0])
@pytest.mark.parametrize(("loss", "power"), [(nn.MSELoss(), 2), (nn.L1Loss(), 1)])
def test_loss_compares_scaled_sums_over_cells(density_scale: float, loss: nn.Module, power: int) -> None:
    predicted = np.random.default_rng(0).uniform(size=(41, 67))
    batch = crowd(HEADS, 41, 67, predicted=predicted)
    output = CountingTask(Seen(), density_scale=density_scale, loss=loss).step(batch, "val")
    difference = SCALE * in_cells(predicted) - density_scale * in_cells(density_of(HEADS, 41, 67))
    assert output.loss.item() == pytest.approx((np.abs(difference) ** power).mean(), rel=1e-5)
    np.testing.assert_allclose(output.prediction[0, 0].detach(), SCALE * in_cells(predicted) / density_scale, rtol=1e-5)


def test_loss_is_of_density_and_counts_by_default() -> None:
    assert isinstance(CountingTask(Seen()).loss, DensityLoss)


def test_loss_is_computed_in_single_precision_under_autocast() -> None:
    task = CountingTask(Strided(4), loss=nn.MSELoss())
    batch = crowd(HEADS, 40, 68, predicted=np.random.default_rng(0).normal(size=(40, 68)))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = task.network(batch.image)
        loss = task.step(batch, "train").loss
    assert coarse.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    target = SCALE * in_cells(density_of(HEADS, 40, 68))
    expected = ((coarse[0, 0].double().detach().numpy() - target) ** 2).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_metrics_of_a_test_are_those_of_the_counts(trainer: Trainer) -> None:
    rng = np.random.default_rng(0)
    heads = [HEADS, HEADS[:2], [], HEADS[1:]]
    sizes = [(41, 67), (40, 64), (12, 90), (64, 64)]
    predicted = [rng.uniform(0, 0.003, size) for size in sizes]
    given = zip(heads, sizes, predicted, strict=True)
    batches = [crowd(points, *size, f"image_{i}", map_) for i, (points, size, map_) in enumerate(given)]
    (metrics,) = trainer.test(CountingTask(Seen(), loss=nn.MSELoss()), Crowds(batches), verbose=False)
    annotated = np.array([5, 2, 0, 4])
    errors = np.array([map_.sum() for map_ in predicted]) - annotated
    assert metrics["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
    assert metrics["test/rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-6)
    some = annotated > 0
    assert metrics["test/nae"] == pytest.approx((np.abs(errors)[some] / annotated[some]).mean(), rel=1e-6)
    squares = [
        np.mean((SCALE * in_cells(map_ - density_of(points, *size))) ** 2)
        for points, size, map_ in zip(heads, sizes, predicted, strict=True)
    ]
    assert metrics["test/loss"] == pytest.approx(np.mean(squares), rel=1e-4)


def test_a_counter_learns_to_count(trainer: Trainer) -> None:
    """Bright blobs are heads: fitting them brings the error of the count below that of counting nothing."""
    rng = np.random.default_rng(0)
    batches = []
    for i in range(8):
        heads = [(float(x), float(y)) for x, y in rng.integers(0, 64, (3 + i, 2))]
        batch = crowd(heads, 64, 64, f"image_{i}")
        image = 40 * batch.density.expand(-1, 3, -1, -1) + 0.1 * torch.randn(1, 3, 64, 64)
        batches.append(batch._replace(image=image))
    task = CountingTask(
        small_counter(conv=nn.Conv2d, small_images=True),
        optimizer=lambda parameters: torch.optim.Adam(parameters, 0.01),
    )
    trainer.fit_loop.max_epochs = 12
    trainer.callbacks.append(CoefficientMaps(num_images=0))
    trainer.fit(task, Crowds(batches))
    metrics = trainer.callback_metrics
    assert {"train/loss", "train/mae", "val/loss", "val/mae", "val/rmse", "val/nae"} == set(metrics)
    assert metrics["val/mae"] < np.mean([batch.num_heads for batch in batches]) / 2


@pytest.mark.parametrize(("bias", "warns"), [(-1.0, True), (0.001, False)])
def test_a_network_that_counts_nothing_is_warned_of(bias: float, warns: bool, trainer: Trainer) -> None:
    """As one whose last rectifier has died does; that it does so before training alone says nothing."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())
    nn.init.zeros_(network[0].weight)
    nn.init.constant_(network[0].bias, bias)
    batches = [crowd(HEADS, 40, 68, "image_0"), crowd([], 40, 68, "image_1")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(CountingTask(network, optimizer=lambda parameters: torch.optim.SGD(parameters, 0)), Crowds(batches))
    assert any("counts nothing in any validation image" in str(each.message) for each in caught) == warns


@pytest.mark.parametrize("size", [(160, 200), (70, 131)])
@pytest.mark.parametrize("flip", [False, True])
def test_tiles_give_what_the_whole_image_gives(size: tuple[int, int], flip: bool) -> None:
    network = small_counter(small_images=True)
    image = torch.randn(1, 3, *size)
    whole = evaluated(CountingTask(network, self_ensemble=flip), image)
    seen: list[int] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
    tiled = evaluated(CountingTask(network, self_ensemble=flip, tile=32), image)
    assert len(seen) > 2
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())
    assert whole.std() > 0


def test_halo_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("lit_modules.tasks.whole_images.receptive_halo", lambda *_, **__: calls.append(1) or 32)
    task = CountingTask(small_counter(), tile=32)
    assert calls == []
    evaluated(task, torch.randn(1, 3, 64, 96))
    evaluated(task, torch.randn(1, 3, 96, 64))
    assert calls == [1]


def test_a_network_that_reads_the_whole_image_cannot_be_tiled() -> None:
    task = CountingTask(small_counter(conv=CondConv2d), tile=32)
    with pytest.raises(UsageError, match=r"reads the image as a whole.*Leave --model.init_args.tile away"):
        evaluated(task, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("width", [64, 67])
def test_flip_averages_both_poses_cell_by_cell(width: int) -> None:
    """On images that do not end with a cell too: cells of the mirror image lie where the image's do."""
    task = CountingTask(Strided(4), self_ensemble=True)
    task.network.output_stride = 4
    image = torch.randn(1, 3, 48, width)
    whole = torch.cat([image, torch.zeros(1, 3, 48, -width % 4)], dim=3)
    with torch.no_grad():
        expected = (task.network(whole) + task.network(whole.flip(3)).flip(3)) / 2
    torch.testing.assert_close(evaluated(task, image), expected / SCALE)


def test_flip_and_tiles_are_for_evaluation_alone() -> None:
    network = small_counter(small_images=True)
    batch = crowd(HEADS, 64, 64)
    task = CountingTask(network, self_ensemble=True, tile=32)
    seen: list[int] = []
    network.register_forward_pre_hook(lambda *_: seen.append(1))
    task.step(batch, "train")
    assert len(seen) == 1


@pytest.mark.parametrize(("stride", "size"), [(1, (9, 11)), (4, (48, 64)), (8, (48, 64))])
def test_stride_is_found_from_the_sizes(stride: int, size: tuple[int, int]) -> None:
    task, image = CountingTask(Strided(stride)), torch.randn(1, 3, *size)
    assert task.cell_size(image, task.network(image)) == stride


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Strided(4, channels=2), r"shape \[1, 1, 12, 16\] .*3, 48, 64\] \(output_stride=4\), got \[1, 2, 12, 16\]"),
        (nn.Conv2d(3, 1, 5), r"got \[1, 1, 44, 60\]"),
        (nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten()), r"got \[1, 3072\]"),
    ],
)
def test_what_is_no_density_is_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CountingTask(network).step(crowd(HEADS, 48, 64), "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density_scale": 0.0}, "density_scale must be positive, got 0.0"),
        ({"tile": 30}, "tile must be a positive multiple of 4, the network's total stride, got 30"),
        ({"tile": 0}, "tile must be a positive multiple of 4, the network's total stride, got 0"),
        ({"network": Strided(4), "tile": 32}, "tile=32 needs a network that states .*total_stride; Strided does not"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CountingTask(**{"network": Seen()} | arguments)


def colours(picture: Tensor) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.flatten(1).T.tolist()}


def panels_of(batch: CrowdBatch, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the picture of an image consists of, by title."""
    shown: list[dict[str, Tensor]] = []
    monkeypatch.setattr("lit_modules.tasks.counting.arrange_panels", lambda panels: shown.append(dict(panels)))
    task = CountingTask(Seen())
    ((name, _),) = task.pictures(batch, task.step(batch, "val").prediction)
    assert [name] == batch.id
    return shown[0]


def test_pictures_share_one_range_of_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the annotated density is drawn in the middle of the colours; its own range would end in yellow too."""
    batch = crowd(HEADS, 96, 200, "street/1.jpg", predicted=density_of(HEADS, 96, 200) / 2)
    panels = panels_of(batch, monkeypatch)
    assert list(panels) == ["photograph", f"annotated {len(HEADS)}", f"predicted {len(HEADS) / 2:.1f}"]
    photograph, annotated, predicted = (colours(panel) for panel in panels.values())
    assert (255, 40, 40) in photograph
    assert (253, 231, 37) in annotated
    assert max(green for _, green, _ in predicted) == pytest.approx(144, abs=2)


def test_pictures_of_large_photographs_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    panels = panels_of(crowd(HEADS, 900, 600), monkeypatch)
    assert {panel.shape for panel in panels.values()} == {(3, 400, 267)}


@pytest.mark.parametrize("side", [40, 400, 1600])
def test_heads_can_be_seen_at_any_size(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """A dot is at least a hundredth of the panel high, as a pixel is of a panel on a card."""
    photograph = panels_of(crowd([(side / 2, side / 2)], side, side), monkeypatch)["photograph"]
    dot = (photograph == torch.tensor([255, 40, 40])[:, None, None]).all(0).any(1).sum().item()
    assert dot >= photograph.shape[1] / 100


def test_checkpoints_hold_the_network_alone(trainer: Trainer, tmp_path: Path) -> None:
    task = CountingTask(Seen())
    trainer.fit(task, Crowds([crowd(HEADS, 48, 64)]))
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    checkpoint = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert list(checkpoint["state_dict"]) == ["network.factor"]


def test_a_batch_of_several_images_counts_each() -> None:
    one, two = crowd(HEADS, 48, 64, "one"), crowd(HEADS[:2], 48, 64, "two")
    both = CrowdBatch(
        torch.cat([one.image, two.image]),
        torch.cat([one.density, two.density]),
        torch.cat([one.num_heads, two.num_heads]),
        [*one.points, *two.points],
        [*one.id, *two.id],
        torch.cat([one.mean, two.mean]),
        torch.cat([one.std, two.std]),
    )
    task = CountingTask(Seen())
    task.step(both, "val")
    assert task.val_metrics["rmse"].compute().item() == pytest.approx(0, abs=1e-5)
    assert torch.cat(task.val_metrics["mae"].annotated).tolist() == [5, 2]
