import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from lit_modules.metrics import EvaluationProtocol, Score, named_protocol, psnr, ssim
from lit_modules.metrics.protocols import PROTOCOLS, Tiles


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Predictions that leave [0, 1] and are not of 8 bits, and targets that are."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, shape, generator=generator) / 255
    return target + 0.1 * torch.randn(shape, generator=generator), target


def as_published(prediction: Tensor, target: Tensor, to_y: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One image's grey levels ``[H, W]`` or ``[H, W, 3]``, with NumPy."""
    levels = [np.clip(image.double().numpy() * 255, 0, 255).round() for image in (prediction, target)]
    if to_y:
        levels = [(16 + np.einsum("c,chw->hw", [65.481, 128.553, 24.966], image) / 255).round() for image in levels]
        return levels[0], levels[1]
    return levels[0].transpose(1, 2, 0), levels[1].transpose(1, 2, 0)


def measured(prediction: NDArray[np.float64], target: NDArray[np.float64]) -> Score:
    """PSNR and SSIM by scikit-image."""
    similarity = structural_similarity(
        prediction, target, channel_axis=2 if target.ndim == 3 else None, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, data_range=255,
    )  # fmt: skip
    return Score(peak_signal_noise_ratio(target, prediction, data_range=255), float(similarity))


def assert_scores(scores: Sequence[Score], expected: Sequence[Score]) -> None:
    assert [s.psnr for s in scores] == pytest.approx([e.psnr for e in expected], abs=1e-4)
    assert [s.ssim for s in scores] == pytest.approx([e.ssim for e in expected], abs=1e-5)


def test_realsr_scores_y_of_the_image_cropped_to_a_multiple_of_four() -> None:
    prediction, target = pair(2, 3, 31, 38)
    expected = [
        measured(*as_published(p[:, :28, :36], t[:, :28, :36], to_y=True))
        for p, t in zip(prediction, target, strict=True)
    ]
    scores = PROTOCOLS["realsr_official"].score(prediction, target)
    assert_scores([score for image in scores for score in image], expected)


def test_sidd_scores_the_three_channels() -> None:
    prediction, target = pair(2, 3, 21, 18)
    expected = [measured(*as_published(p, t, to_y=False)) for p, t in zip(prediction, target, strict=True)]
    scores = PROTOCOLS["sidd"].score(prediction, target)
    assert_scores([score for image in scores for score in image], expected)


def test_the_form_of_ssim_can_be_chosen() -> None:
    prediction, target = pair(1, 3, 21, 18)
    ((score,),) = named_protocol("sidd", ssim="matlab3d").score(prediction, target)
    p, t = ((255 * image.clamp(0, 1)).round() for image in (prediction, target))
    assert score.ssim == pytest.approx(ssim(p, t, form="matlab3d").item())
    assert score.psnr == pytest.approx(psnr(p, t).item())


def test_shaved_borders_do_not_count() -> None:
    prediction, target = pair(1, 3, 30, 31)
    spoilt = prediction.clone()
    spoilt[..., :4] = spoilt[..., -4:] = spoilt[..., :4, :] = spoilt[..., -4:, :] = 0
    ((score,),) = named_protocol("per_image", shave=4).score(spoilt, target)
    inner = measured(*as_published(prediction[0, :, 4:-4, 4:-4], target[0, :, 4:-4, 4:-4], to_y=True))
    assert_scores([score], [inner])


def test_images_of_one_channel_are_y() -> None:
    """Y divided by 255 is what networks of the Y channel give."""
    prediction, target = pair(1, 1, 20, 20)
    levels = [np.clip(image[0, 0].double().numpy() * 255, 0, 255).round() for image in (prediction, target)]
    ((score,),) = PROTOCOLS["per_image"].score(prediction, target)
    assert_scores([score], [measured(*levels)])


@pytest.mark.parametrize(("length", "starts"), [(1204, [0, 4]), (2400, [0, 800, 1200]), (2000, [0, 800, 800])])
def test_tiles_go_on_to_the_border(length: int, starts: list[int]) -> None:
    """The positions that the loop in the RealSR authors' patchLocation.m gives, from 0 on."""
    assert Tiles(1200, 800).starts(length) == starts
    assert PROTOCOLS["realsr_official"].tiles == (1200, 800)


def test_each_tile_is_a_sample() -> None:
    protocol = EvaluationProtocol("y", tiles=Tiles(16, 12))
    prediction, target = pair(1, 3, 30, 17)
    (scores,) = protocol.score(prediction, target)
    p, t = as_published(prediction[0], target[0], to_y=True)
    corners = [(0, 0), (0, 1), (12, 0), (12, 1), (14, 0), (14, 1)]
    assert_scores(scores, [measured(p[y : y + 16, x : x + 16], t[y : y + 16, x : x + 16]) for y, x in corners])


@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_images_are_tiled_only_if_both_sides_are_longer(size: tuple[int, int]) -> None:
    (scores,) = EvaluationProtocol("y", tiles=Tiles(16, 12)).score(*pair(1, 3, *size))
    assert len(scores) == 1


def test_identical_images_count_as_100_db() -> None:
    prediction, target = pair(3, 3, 16, 16)
    prediction[1] = target[1] + 0.4 / 255  # the same in 8 bits
    metrics = PROTOCOLS["sidd"].metrics()
    scores = PROTOCOLS["sidd"].score(prediction, target)
    metrics.update(scores)
    assert scores[1] == [Score(100, pytest.approx(1))]
    assert metrics.compute()["psnr"].item() == pytest.approx((scores[0][0].psnr + 100 + scores[2][0].psnr) / 3)


def test_nan_shows_in_the_mean() -> None:
    prediction, target = pair(2, 3, 16, 16)
    prediction[0, 0, 3, 3] = torch.nan
    metrics = PROTOCOLS["per_image"].metrics()
    metrics.update(PROTOCOLS["per_image"].score(prediction, target))
    assert all(math.isnan(value) for value in metrics.compute().values())


def test_an_image_scores_the_same_in_any_batch() -> None:
    prediction, target = pair(3, 3, 20, 20)
    protocol = PROTOCOLS["per_image"]
    assert protocol.score(prediction, target)[2] == protocol.score(prediction[2:], target[2:])[0]


def test_predictions_of_half_precision_are_scored() -> None:
    prediction, target = pair(1, 3, 16, 16)
    ((half,),) = PROTOCOLS["per_image"].score(prediction.bfloat16(), target)
    ((full,),) = PROTOCOLS["per_image"].score(prediction.bfloat16().float(), target)
    assert half == full


def test_the_description_says_what_is_scored() -> None:
    official = PROTOCOLS["realsr_official"].describe()
    for fact in (
        "Y in 8 bits",
        "multiple of 4",
        "no border shaved",
        "1200×1200 tiles at stride 800",
        "mean over tiles",
    ):
        assert fact in official
    denoising = named_protocol("sidd", shave=3, ssim="matlab3d").describe()
    for fact in ("all channels", "3 border pixels shaved", "matlab3d", "mean over images"):
        assert fact in denoising
    assert "\n" not in official + denoising


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "realsr"}, "protocol must be one of realsr_official, per_image, sidd, got 'realsr'"),
        ({"name": "realsr_official", "shave": 4}, "protocol=realsr_official has shave=0 .* got 4 .* use per_image"),
        ({"name": "per_image", "shave": -1}, "shave must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_protocol(**arguments)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="channels must be y or rgb, got 'Y'"):
        EvaluationProtocol("Y")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("protocol", "shape", "message"),
    [
        (named_protocol("per_image"), (1, 4, 16, 16), "1 or 3 channels, got 4"),
        (named_protocol("per_image", shave=3), (1, 3, 16, 40), "at least 11×11 pixels, got 10×34"),
        (named_protocol("per_image", shave=20), (1, 3, 16, 40), "at least 11×11 pixels, got 0×0"),
    ],
)
def test_images_that_cannot_be_scored_are_refused(protocol: EvaluationProtocol, shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol.score(torch.zeros(shape), torch.zeros(shape))
