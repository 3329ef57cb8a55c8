from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from acda.models import LPKPN, VDSR, Restorer, laplacian_pyramid
from datamodules.batches import RestorationBatch
from lit_modules.callbacks import PictureLogger
from lit_modules.errors import UsageError
from lit_modules.losses import Charbonnier, PyramidLoss
from lit_modules.tasks.restoration import RestorationTask
from tests.support.restorations import Photographs, Scaled, degraded, pair, randomised

FACTOR = 0.917  # takes no grey level to the middle between two
SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def hwc(image: Tensor) -> NDArray[np.float64]:
    return image.permute(1, 2, 0).double().numpy()


def y_of(image: Tensor) -> NDArray[np.float64]:
    """Y from 16 to 235, by scikit-image."""
    return rgb2ycbcr(hwc(image))[..., 0]


def in_8_bits(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255


def restored(task: RestorationTask, image: Tensor) -> Tensor:
    task.eval()
    with torch.inference_mode():
        return task.predict_step(degraded(image), 0)


LOSSES = [
    (None, lambda d: (d**2).mean()),
    (nn.L1Loss(), lambda d: np.abs(d).mean()),
    (Charbonnier(0.01), lambda d: np.sqrt(d**2 + 1e-4).mean()),
]


@pytest.mark.parametrize(("loss", "formula"), LOSSES)
@pytest.mark.parametrize("stage", ["train", "val"])
def test_loss_compares_what_the_network_gives(loss: nn.Module | None, formula: object, stage: str) -> None:
    batch = pair(20, 24, count=2)
    task = RestorationTask(Scaled(1.5), loss=loss)
    value = task.step(batch, stage).loss
    assert value.item() == pytest.approx(formula((1.5 * batch.image - batch.target).numpy()), rel=1e-5)


def test_loss_of_y_alone() -> None:
    batch = pair(20, 24)
    task = RestorationTask(Scaled(1.5), channels="y")
    expected = np.mean((1.5 * y_of(batch.image[0]) / 255 - y_of(batch.target[0]) / 255) ** 2)
    for stage in ("train", "val"):
        assert task.step(batch, stage).loss.item() == pytest.approx(expected, rel=1e-5)
    assert set(task.network.seen) == {(1, 1, 20, 24)}


def test_loss_is_computed_in_single_precision_under_autocast() -> None:
    batch = pair(16, 16)
    task = RestorationTask(nn.Conv2d(3, 3, 1))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = task.network(batch.image)
        loss = task.step(batch, "train").loss
    assert coarse.dtype == torch.bfloat16
    assert loss.item() == pytest.approx((coarse.double() - batch.target.double()).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("channels", ["rgb", "y"])
def test_metrics_of_a_test_are_those_of_y(trainer: Trainer, channels: str) -> None:
    batches = [pair(24, 31, f"{i}.png", noise) for i, noise in enumerate((0.02, 0.1, 0.2))]
    (metrics,) = trainer.test(RestorationTask(Scaled(FACTOR), channels), Photographs(batches), verbose=False)
    factors = {"": FACTOR, "_input": 1.0}
    for suffix, factor in factors.items():
        pairs = []
        for batch in batches:
            image = in_8_bits(factor * batch.image[0])
            prediction = y_of(image).round() if channels == "rgb" else (factor * y_of(batch.image[0])).round()
            pairs.append((prediction, y_of(batch.target[0]).round()))
        psnr = np.mean([peak_signal_noise_ratio(t, p, data_range=255) for p, t in pairs])
        ssim = np.mean([structural_similarity(t, p, **SSIM) for p, t in pairs])
        assert metrics[f"test/psnr_y{suffix}"] == pytest.approx(psnr, abs=1e-3)
        assert metrics[f"test/ssim_y{suffix}"] == pytest.approx(ssim, abs=1e-4)
    assert set(metrics) == {"test/loss", *(f"test/{m}_y{s}" for m in ("psnr", "ssim") for s in factors)}


def test_metrics_of_rgb_protocols_have_names_of_their_own(trainer: Trainer) -> None:
    batch = pair(24, 31)
    (metrics,) = trainer.test(RestorationTask(Scaled(FACTOR), protocol="sidd"), Photographs([batch]), verbose=False)
    prediction, target = (255 * hwc(in_8_bits(image[0])) for image in (FACTOR * batch.image, batch.target))
    assert metrics["test/psnr"] == pytest.approx(peak_signal_noise_ratio(target, prediction, data_range=255), abs=1e-3)
    ssim = structural_similarity(target, prediction, channel_axis=2, **SSIM)
    assert metrics["test/ssim"] == pytest.approx(ssim, abs=1e-4)
    assert {"test/psnr_input", "test/ssim_input"} < set(metrics)


def test_protocol_can_be_altered() -> None:
    batch = pair(24, 24)
    spoilt = batch.image.clone()
    spoilt[..., :3] = 0
    task = RestorationTask(Scaled(), protocol="sidd", shave=3, ssim="matlab3d")
    whole = task.protocol.score(batch.image, batch.target)
    assert task.protocol.score(spoilt, batch.target) == whole
    assert "matlab3d" in task.protocol.describe()


def test_scores_are_printed_with_their_protocol(trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    task, data = RestorationTask(Scaled(FACTOR)), Photographs([pair(24, 31)])
    for evaluate, stage in ((trainer.validate, "val"), (trainer.test, "test")):
        caplog.clear()
        with caplog.at_level("INFO"):
            (metrics,) = evaluate(task, data, verbose=False)
        (line,) = [record.message for record in caplog.records if "psnr_y" in record.message]
        assert task.protocol.describe() in line
        assert f"{stage}/psnr_y {metrics[f'{stage}/psnr_y']:.4f} (input {metrics[f'{stage}/psnr_y_input']:.4f})" in line


def test_training_improves_on_the_input(trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    batches = [pair(24, 24, noise=0.2, count=4) for _ in range(12)]
    task = RestorationTask(VDSR(width=8, depth=3), optimizer=lambda parameters: torch.optim.Adam(parameters, 0.01))
    trainer.fit_loop.max_epochs = 8
    trainer.limit_val_batches = 2
    trainer.callbacks.append(PictureLogger(num_pictures=0))
    with caplog.at_level("INFO"):
        trainer.fit(task, Photographs(batches))
    metrics = trainer.callback_metrics
    scores = {f"val/{m}_y{s}" for m in ("psnr", "ssim") for s in ("", "_input")}
    assert set(metrics) == {"train/loss", "val/loss", *scores}
    assert metrics["val/psnr_y"] > metrics["val/psnr_y_input"] + 1
    assert sum("psnr_y" in record.message for record in caplog.records) == 8  # not for the sanity check


def test_a_network_of_y_trains_with_all_callbacks(trainer: Trainer, tmp_path: Path) -> None:
    task = RestorationTask(Restorer(1, 1, width=2, inner_width=4, depth=1), channels="y")
    trainer.fit(task, Photographs([pair(32, 32, count=2)]))
    trainer.test(task, Photographs([pair(32, 32)]), verbose=False)
    assert (tmp_path / "run" / "pictures" / "test_pictures" / "00_photo.png.png").exists()


BANDS = [(18, 27), (9, 14), (5, 7)]


def test_training_of_a_pyramid_compares_its_bands() -> None:
    """Random bands: what they collapse to has other ones."""
    bands = [torch.rand(1, 1, *size) for size in BANDS]
    network = LPKPN(width=16, depth=1)
    network.levels = lambda image: bands
    batch = pair(*BANDS[0])
    task = RestorationTask(network, channels="y", loss=PyramidLoss(nn.L1Loss()))
    wanted = laplacian_pyramid(torch.from_numpy(y_of(batch.target[0]) / 255)[None, None])
    expected = sum((b - w).abs().mean().item() for b, w in zip(bands, wanted, strict=True))
    assert task.step(batch, "train").loss.item() == pytest.approx(expected, rel=1e-5)


def test_evaluation_of_a_pyramid_compares_the_bands_of_the_image() -> None:
    batch = pair(61, 131)
    network = randomised(LPKPN(width=16, depth=1))
    y, target = (torch.from_numpy(y_of(image[0]) / 255)[None, None].float() for image in (batch.image, batch.target))
    with torch.no_grad():
        bands = zip(laplacian_pyramid(network(y)), laplacian_pyramid(target), strict=True)
    expected = sum((band - wanted).square().mean().item() for band, wanted in bands)
    for tile in (None, 16):
        loss = RestorationTask(network, channels="y", loss=PyramidLoss(), tile=tile).step(batch, "val").loss
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_network_without_bands_has_no_loss_on_them() -> None:
    with pytest.raises(ValueError, match="loss=PyramidLoss wants levels, which Scaled has not"):
        RestorationTask(Scaled(), loss=PyramidLoss())


def test_images_shared_by_processes_give_the_same_scores() -> None:
    """Two processes have a part of the images each; together they have the means of one that has all."""
    batches = [pair(16, 20, noise=noise) for noise in (0.01, 0.03, 0.1, 0.2, 0.3)]

    def metrics_of(batches: list[RestorationBatch]) -> nn.Module:
        task = RestorationTask(Scaled(FACTOR))
        for batch in batches:
            task.step(batch, "val")
        return task.val_metrics

    whole = metrics_of(batches).compute()
    for first in (1, 4):
        both = deepcopy(metrics_of(batches[first:]))
        for name, metric in metrics_of(batches[:first]).items():
            both[name].merge_state(metric)
        assert both.compute() == whole


def test_y_is_restored_and_cb_and_cr_pass_through() -> None:
    image = 0.25 + 0.5 * torch.rand(2, 3, 12, 15)
    output = restored(RestorationTask(Scaled(1.1), channels="y"), image)
    for before, after in zip(image, output, strict=True):
        expected, found = rgb2ycbcr(hwc(before)), rgb2ycbcr(hwc(after))
        np.testing.assert_allclose(found[..., 0], 1.1 * expected[..., 0], atol=1e-3)
        np.testing.assert_allclose(found[..., 1:], expected[..., 1:], atol=1e-3)


def test_what_y_leaves_alone_stays_exactly_what_it_was() -> None:
    image = torch.randint(0, 65536, (1, 3, 20, 20)) / 65535
    assert torch.equal(restored(RestorationTask(Scaled(), channels="y"), image), image)


def test_grey_images_stay_grey_where_y_is_restored() -> None:
    image = torch.rand(1, 1, 12, 15).expand(1, 3, 12, 15)
    output = restored(RestorationTask(Scaled(0.8), channels="y"), image)
    assert torch.equal(output[:, 0], output[:, 1]) and torch.equal(output[:, 0], output[:, 2])
    assert not torch.equal(output, image)


def test_restored_images_are_within_range() -> None:
    output = restored(RestorationTask(Scaled(3.0)), torch.rand(1, 3, 12, 15) - 0.2)
    assert (output.min(), output.max(), output.shape) == (0, 1, (1, 3, 12, 15))


@pytest.mark.parametrize("ensemble", [False, True])
def test_tiles_and_poses_give_what_the_whole_image_gives(ensemble: bool) -> None:
    network = randomised(Restorer(width=2, inner_width=4, depth=1))
    image = torch.rand(1, 3, 61, 131)
    whole = restored(RestorationTask(network, self_ensemble=ensemble), image)
    tiled = restored(RestorationTask(network, self_ensemble=ensemble, tile=24), image)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)
    assert torch.equal(whole, restored(RestorationTask(network), image)) != ensemble


def test_tiles_and_poses_are_for_evaluation_alone() -> None:
    task = RestorationTask(Scaled(), tile=16, self_ensemble=True)
    batch = pair(32, 32)
    task.step(batch, "train")
    assert task.network.seen == [(1, 3, 32, 32)]
    task.step(batch, "val")
    assert len(task.network.seen) > 8 * 4


def panels_of(task: RestorationTask, batch: RestorationBatch, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the picture of the first image consists of, by title."""
    shown: list[dict[str, Tensor]] = []
    monkeypatch.setattr("lit_modules.tasks.restoration.arrange_panels", lambda panels: shown.append(dict(panels)))
    next(iter(task.pictures(batch, task.step(batch, "val"))))
    return shown[0]


def test_picture_shows_images_their_psnr_and_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flat grey, 20 and 30 grey levels off, of which the network takes half: PSNR of 10 and of 15 levels of Y."""
    target = torch.full((1, 3, 300, 280), 100 / 255)
    image = target.clone()
    image[..., 140:] += 20 / 255
    image[..., :140] += 30 / 255

    class Halfway(Scaled):
        def forward(self, image: Tensor) -> Tensor:
            return self.factor * (image + 100 / 255) / 2

    panels = panels_of(RestorationTask(Halfway()), RestorationBatch(image, target, ["a"]), monkeypatch)
    levels = 219 / 255 * np.array([20.0, 30.0])
    came = 10 * np.log10(255**2 / np.mean(levels**2))
    titles = list(panels)
    assert titles[2:] == ["target", "|error|, 0 to 0.1"]
    for title, name, expected in zip(titles, ("input", "output"), (came, came + 20 * np.log10(2)), strict=False):
        assert title.startswith(f"{name} ") and title.endswith(" dB")
        assert float(title.split()[1]) == pytest.approx(expected, abs=0.3)  # grey levels are rounded
    shown = list(panels.values())
    assert all(panel.shape == (3, 256, 256) for panel in shown)
    assert [panel[0, 0, -1].item() for panel in shown[:3]] == [120, 110, 100]
    share = 8 * 10 / 25.5 - 3  # of the way from the fourth to the fifth of the nine colours
    expected = [44 - 11 * share, 113 + 31 * share, 142 - share]
    assert shown[3][:, 0, -1].tolist() == pytest.approx(expected, abs=1)


def test_small_images_are_shown_whole_in_a_picture_of_pleasant_size() -> None:
    batch = pair(64, 48, count=2)
    task = RestorationTask(Scaled(FACTOR))
    pictures = list(task.pictures(batch, task.step(batch, "val")))
    assert [name for name, _ in pictures] == batch.id
    height, width = pictures[0][1].shape[1:]
    assert width >= 2 * 4 * 48 and height >= 2 * 4 * 64  # two rows of two, enlarged four times


def test_checkpoints_hold_the_network_alone(trainer: Trainer, tmp_path: Path) -> None:
    trainer.fit(RestorationTask(Scaled()), Photographs([pair(32, 32)]))
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    assert list(torch.load(tmp_path / "task.ckpt", weights_only=True)["state_dict"]) == ["network.factor"]


@pytest.mark.parametrize("stage", ["train", "val"])
def test_a_network_that_changes_the_size_is_refused(stage: str) -> None:
    with pytest.raises(ValueError, match=r"of the shape it is given, \[1, 3, 16, 16\], got \[1, 3, 14, 14\]"):
        RestorationTask(nn.Conv2d(3, 3, 3)).step(pair(16, 16), stage)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "sidd", "channels": "y"}, "protocol=sidd scores RGB, .*channels=y.* use per_image"),
        ({"protocol": "realsr_official", "shave": 4}, "protocol=realsr_official has shave=0"),
        ({"protocol": "official"}, "protocol must be one of .* got 'official'"),
        ({"channels": "ycbcr"}, "channels must be rgb or y, got 'ycbcr'"),
        ({"tile": 0}, "tile must be a positive multiple of 1, .* got 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RestorationTask(Scaled(), **arguments)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_channels_is_scored_jointly(trainer: Trainer, count: int) -> None:
    whole = pair(24, 31)
    batch = RestorationBatch(*(image.repeat(1, 2, 1, 1)[:, :count] for image in whole[:2]), whole.id)
    (metrics,) = trainer.test(RestorationTask(Scaled(FACTOR), protocol="sidd"), Photographs([batch]), verbose=False)
    prediction, target = (255 * hwc(in_8_bits(image[0])) for image in (FACTOR * batch.image, batch.target))
    assert metrics["test/psnr"] == pytest.approx(peak_signal_noise_ratio(target, prediction, data_range=255), abs=1e-3)
    ssim = structural_similarity(target, prediction, channel_axis=2, **SSIM)
    assert metrics["test/ssim"] == pytest.approx(ssim, abs=1e-4)


def test_y_of_one_channel_is_that_channel(trainer: Trainer) -> None:
    whole = pair(24, 31)
    batch = RestorationBatch(*(image[:, :1] for image in whole[:2]), whole.id)
    (metrics,) = trainer.test(RestorationTask(Scaled(FACTOR)), Photographs([batch]), verbose=False)
    prediction, target = (255 * hwc(in_8_bits(image[0])) for image in (FACTOR * batch.image, batch.target))
    assert metrics["test/psnr_y"] == pytest.approx(
        peak_signal_noise_ratio(target, prediction, data_range=255), abs=1e-3
    )


def test_y_is_not_taken_of_other_channels() -> None:
    images = torch.rand(1, 5, 24, 24), torch.rand(1, 5, 24, 24)
    with pytest.raises(UsageError, match=r"^protocol must be sidd, .* images of 5 channels: --model\.init_args\."):
        RestorationTask(Scaled()).step(RestorationBatch(*images, ["a"]), "val")
    with pytest.raises(UsageError, match=r"^channels must be rgb for images of 5 channels, got 'y'"):
        RestorationTask(Scaled(), channels="y").step(RestorationBatch(*images, ["a"]), "train")
