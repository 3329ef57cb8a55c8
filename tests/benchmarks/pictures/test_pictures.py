from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from acda.models.weight_files import FOLDER_VARIABLE
from benchmarks.pictures import __main__ as command
from benchmarks.pictures import crowd as crowd_picture
from benchmarks.pictures import method as method_picture
from benchmarks.pictures.canvas import Canvas, signed
from benchmarks.pictures.cells import cells
from benchmarks.pictures.crowd import crowd, draw
from benchmarks.pictures.method import acda_layer, filters_at, method, plain_layer, train_denoiser
from benchmarks.pictures.photographs import restoration, scales
from benchmarks.pictures.toy import toy
from datamodules import SyntheticCrowdDataModule
from datamodules.batches import CrowdBatch
from datamodules.restoration.sample_photo_files import make_noisy_pair
from tests.support.crowds import NORMALISED
from tests.support.weights import write_weights

TINY: dict[str, Callable[[], Canvas]] = {
    "method": partial(method, 2),
    "toy": partial(toy, 1),
    "scales": scales,
    "restoration": restoration,
    "crowd": partial(crowd, 2),
    "cells": partial(cells, 1, count=8),
}


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two photographs to train on, small scenes, and weights of small networks."""
    monkeypatch.setattr(method_picture, "TRAIN", ("flower.jpg", "brick.png"))
    monkeypatch.setattr(
        crowd_picture, "SyntheticCrowdDataModule", partial(SyntheticCrowdDataModule, height=96, width=128)
    )
    folder = tmp_path / "weights"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    write_weights(folder, "restorer").rename(folder / "denoise_real.safetensors")
    write_weights(folder, "counter").rename(folder / "crowd_rendered.safetensors")


class Drawn:
    """What was drawn: texts, and pictures of tensors."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pictures: list[Tensor] = []

    def holds(self, picture: Tensor) -> bool:
        return any(torch.equal(picture, other) for other in self.pictures)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    seen = Drawn()
    text, picture = Canvas.text, Canvas.picture

    def see_text(self: Canvas, x: float, y: float, words: str, *options: Any) -> None:
        seen.texts.append(words)
        text(self, x, y, words, *options)

    def see_picture(self: Canvas, x: float, y: float, pixels: Tensor, *options: Any) -> None:
        seen.pictures.append(pixels)
        picture(self, x, y, pixels, *options)

    monkeypatch.setattr(Canvas, "text", see_text)
    monkeypatch.setattr(Canvas, "picture", see_picture)
    return seen


@pytest.mark.parametrize("name", TINY)
def test_command_writes_the_picture_that_is_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(command.PICTURES) == set(TINY)
    monkeypatch.setattr(command, "PICTURES", TINY)
    command.main(["--only", name, f"--output={tmp_path / 'made'}"])
    (path,) = (tmp_path / "made").iterdir()
    with Image.open(path) as image:
        assert (path.name, image.format) == (f"{name}.png", "PNG")
        assert 1700 <= image.width <= 1840  # two pixels for each of the 850 to 920 that a README shows
        assert len(image.convert("RGB").getcolors(2**24) or []) > 20
    assert path.stat().st_size < 300_000
    assert str(path) in capsys.readouterr().out


def test_filters_in_the_picture_are_those_of_the_layer(drawn: Drawn) -> None:
    found: list[Any] = []

    def keep(layer: Any, x: Tensor, pixels: Any) -> Any:
        found.append((layer, x, list(pixels)))
        return filters_at(layer, x, pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method_picture, "filters_at", keep)
        method(2)
    ((layer, x, pixels),) = found
    with torch.no_grad():
        everywhere, bases = layer.filters(x)[0, 0, 0], layer.bases
    filters = [everywhere[..., row, column] for row, column in pixels]
    plain = train_denoiser(plain_layer, 2).layer.weight[0, 0]
    top = max(float(values.detach().abs().max()) for values in (*filters, plain))
    assert len(filters) >= 3
    assert all(drawn.holds(signed(values, top)) for values in (*filters, plain))
    assert all(drawn.holds(signed(basis, float(bases.abs().max()))) for basis in bases)


def test_filter_at_a_pixel_is_made_of_its_atoms_and_they_of_its_coefficients() -> None:
    torch.manual_seed(0)
    layer = acda_layer().eval()
    x = torch.randn(1, 1, 12, 12)
    (found,) = filters_at(layer, x, [(4, 7)])
    bases, weight = layer.bases.numpy(), layer.weight[0, 0].detach().numpy()
    assert np.allclose(found.atoms, np.tensordot(found.coefficients.numpy(), bases, 1), atol=1e-5)
    assert np.allclose(found.filter, np.tensordot(weight, found.atoms.numpy(), 1), atol=1e-5)
    windows = torch.nn.functional.pad(x, (3, 3, 3, 3), mode="replicate")[0, 0, 4:11, 7:14]
    assert float((windows * found.filter).sum()) == pytest.approx(float(layer(x).detach()[0, 0, 4, 7]), abs=1e-5)


def test_trained_layers_repeat() -> None:
    first, second = (train_denoiser(acda_layer, 2).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_psnr_beneath_the_noisy_photograph_is_that_of_what_is_shown(drawn: Drawn) -> None:
    restoration()
    noisy, _, clean = (picture.permute(1, 2, 0).numpy() for picture in drawn.pictures)
    whole = make_noisy_pair("chelsea.png", 0, 10)
    assert any(np.array_equal(whole[1][60:204, left : left + clean.shape[1]], clean) for left in range(300))
    assert f"PSNR {peak_signal_noise_ratio(clean, noisy):.2f} dB" in drawn.texts


def test_counts_beneath_a_crowd_are_those_of_the_scene_in_the_middle(drawn: Drawn) -> None:
    """Counts 1, 2 and 6 are predicted as 3, 3 and 3: errors 2, 1 and 3, their mean is 2."""
    scenes = []
    for number in (6, 1, 2):
        density = torch.zeros(1, 1, 8, 8)
        density[..., :number] = 1 / 8
        points = [torch.ones(number, 2)]
        count, black = torch.tensor([number]), torch.zeros(1, 3, 8, 8)
        scenes.append(CrowdBatch(black, density, count, points, ["x"], *NORMALISED))
    draw(scenes, [torch.full((1, 1, 2, 2), 0.75)] * 3, "7 steps", "scene", "scenes")
    assert {"2 heads", "3.0 heads"} <= set(drawn.texts)
    assert any("7 steps" in words and "2.0 heads, of 3 on average" in words for words in drawn.texts)


def test_signed_colours_are_white_at_zero_and_opposite_at_the_ends() -> None:
    colours = signed(torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0]]), 1.0)[:, 0].T.tolist()
    assert colours[2] == [255, 255, 255]
    assert colours[0] == colours[1] != colours[3] == colours[4]
    assert colours[1][2] > colours[1][0]
    assert colours[3][0] > colours[3][2]


def test_pixels_that_are_enlarged_stay_sharp() -> None:
    canvas = Canvas(20, 20)
    canvas.picture(0, 0, torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8).expand(3, -1, -1), 10)
    pixels = np.asarray(canvas.image)[:20, :20, 0]
    assert np.array_equal(pixels, np.kron([[0, 255], [255, 0]], np.ones((10, 10))))
