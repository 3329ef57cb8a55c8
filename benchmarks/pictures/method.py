"""How a filter comes about at a pixel: bases, coefficients, atoms, filter (paper Figures 1 to 4)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import ACDAConv2d
from acda.bases import basis_scales
from benchmarks.pictures.canvas import GREY, Canvas, Colour, signed
from benchmarks.pictures.training import random_patches, train
from datamodules.restoration.sample_photo_files import TRAIN, read_photograph
from lit_modules.metrics.similarity import psnr
from lit_modules.output.pictures import draw_image

NOISE = 0.1
"""Standard deviation of the noise; pixels are in [0, 1]."""
_MEAN_SIDE = 9  # pixels
_PATCHES, _PATCH_SIDE = 8, 32
_PHOTOGRAPH, _ROWS, _COLUMNS = "astronaut.png", slice(0, 270), slice(100, 370)
# Chosen with the trained layer in sight, where it is easily seen what its filters do.
_PIXELS = {"flat": (60, 245), "vertical edge": (79, 54), "horizontal edge": (192, 137), "slanted edge": (47, 189)}
_COLOURS: tuple[Colour, ...] = ((230, 120, 0), (0, 140, 60), (200, 0, 120), (0, 90, 220))
_STORY = """At each pixel a small network reads the
surroundings and gives coefficients. They
combine the fixed bases to 6 atoms, and
learned weights, the same at all pixels,
combine the atoms to the filter. Here it
filters what differs from the local mean:
weaker where there is noise alone, along
the edge where there is one."""
_LEFT, _ATOMS, _FILTER, _TOP = 316, 640, 802, 106
_CELL, _PER_SCALE, _TILE, _ROW_HEIGHT = 16, 6, 90, 116


class DetailDenoiser(nn.Module):
    """Filters what an image has beside its local mean; brightness, which no filter should depend on, is left out.

    Args:
        layer: From one channel to one, at the image's resolution.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def detail(self, image: Tensor) -> Tensor:
        """Return what is beside the mean of the surroundings, in deviations of the noise: the layer's input.

        Args:
            image: ``[N, 1, H, W]`` in [0, 1].
        """
        return (image - self._mean(image)) / NOISE

    def forward(self, image: Tensor) -> Tensor:
        """Denoise ``[N, 1, H, W]``."""
        filtered: Tensor = self.layer(self.detail(image))
        return self._mean(image) + NOISE * filtered

    def _mean(self, image: Tensor) -> Tensor:
        padded = F.pad(image, (_MEAN_SIDE // 2,) * 4, mode="replicate")
        return F.avg_pool2d(padded, _MEAN_SIDE, stride=1)


def acda_layer() -> ACDAConv2d:
    """Make the layer in the picture."""
    return ACDAConv2d(
        1,
        1,
        7,
        padding=3,
        bias=False,
        padding_mode="replicate",
        generator_kernel_sizes=(5, 3),
        hidden_channels=32,
    )


def plain_layer() -> nn.Conv2d:
    """Make the convolution that it is compared with."""
    return nn.Conv2d(1, 1, 7, padding=3, bias=False, padding_mode="replicate")


def train_denoiser(make_layer: Callable[[], nn.Module], steps: int) -> DetailDenoiser:
    """Train a layer to remove noise from grey photographs, the picture's not among them.

    Args:
        make_layer: Makes the layer.
        steps: Steps of training.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    photographs = [_grey(name) for name in TRAIN]
    denoiser = DetailDenoiser(make_layer())

    def loss() -> Tensor:
        clean = random_patches(photographs, _PATCHES, _PATCH_SIDE, generator)
        return F.mse_loss(denoiser(_noisy(clean, generator)), clean)

    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    train(type(denoiser.layer).__name__, denoiser, loss, steps, optimizer, schedule)
    return denoiser


def method(steps: int = 400) -> Canvas:
    """Draw a photograph with marked pixels, and for each of them coefficients, atoms and filter, under the fixed bases.

    Args:
        steps: Steps of training, for the ACDA layer and for the plain convolution.

    Returns:
        The picture, with PSNR of what both layers make of the noisy photograph.
    """
    clean = _grey(_PHOTOGRAPH)[None, :, _ROWS, _COLUMNS]
    noisy = _noisy(clean, torch.Generator().manual_seed(2))
    adaptive, plain = (train_denoiser(make, steps) for make in (acda_layer, plain_layer))
    assert isinstance(adaptive.layer, ACDAConv2d)
    assert isinstance(plain.layer, nn.Conv2d)
    canvas = Canvas(900, 704)
    _draw_images(canvas, clean, noisy, adaptive, plain)
    _draw_bases(canvas, adaptive.layer.bases)
    _draw_filters(
        canvas, filters_at(adaptive.layer, adaptive.detail(noisy), _PIXELS.values()), plain.layer.weight[0, 0].detach()
    )
    return canvas


def _draw_images(canvas: Canvas, clean: Tensor, noisy: Tensor, adaptive: DetailDenoiser, plain: DetailDenoiser) -> None:
    canvas.text(135, 8, "noisy photograph, four pixels marked", 13.5, "ma")
    canvas.picture(0, 30, draw_image(noisy[0], 0, 1), 270)
    for number, ((row, column), colour) in enumerate(zip(_PIXELS.values(), _COLOURS, strict=True), 1):
        canvas.ring(column + 0.5, 30 + row + 0.5, 6, colour)
        canvas.disc(column + 14, 30 + row - 10, 8, colour, str(number))
    for left, title, denoiser in ((0, "one filter for all pixels", plain), (138, "a filter for each pixel", adaptive)):
        with torch.no_grad():
            restored = denoiser(noisy)
        canvas.text(left + 66, 328, title, 12, "ma")
        canvas.picture(left, 346, draw_image(restored[0, :, 50:182, 45:177], 0, 1), 132)
        count = sum(parameter.numel() for parameter in denoiser.parameters())
        below = f"PSNR {float(psnr(restored, clean, peak=1)):.2f} dB\n{count:,} parameters"
        canvas.text(left + 66, 483, below, 12.5, "ma")
    canvas.text(0, 552, _STORY, 13)
    canvas.text(135, 304, f"PSNR {float(psnr(noisy, clean, peak=1)):.2f} dB. Denoised by", 12.5, "ma")


class PixelFilter(NamedTuple):
    """How the filter at a pixel comes about.

    Attributes:
        coefficients: Of each atom over the bases, ``[m, K]``.
        atoms: ``[m, l, l]``.
        filter: ``[l, l]``.
    """

    coefficients: Tensor
    atoms: Tensor
    filter: Tensor


def filters_at(layer: ACDAConv2d, x: Tensor, pixels: Iterable[tuple[int, int]]) -> list[PixelFilter]:
    """Find what a layer from one channel to one does at some pixels.

    Args:
        layer: The layer.
        x: What it is given, ``[1, 1, H, W]``.
        pixels: Rows and columns.
    """
    with torch.no_grad():
        coefficients, atoms, filters = layer.coefficients(x)[0], layer.atoms(x)[0], layer.filters(x)[0, 0, 0]
    return [PixelFilter(*(maps[..., row, column] for maps in (coefficients, atoms, filters))) for row, column in pixels]


def _draw_bases(canvas: Canvas, bases: Tensor) -> None:
    top = float(bases.abs().max())
    canvas.text(_LEFT, 8, "fixed Fourier-Bessel bases, 6 at each of 3 scales", 13.5)
    for number, (basis, scale) in enumerate(zip(bases, basis_scales(bases), strict=True)):
        if number % _PER_SCALE == 0:
            canvas.text(_cell(number + 3), 30, f"{scale}x{scale}", 12, "ma", GREY)
        canvas.picture(_cell(number), 46, signed(basis, top), _CELL - 1, GREY)


def _draw_filters(canvas: Canvas, found: list[PixelFilter], plain: Tensor) -> None:
    """Draw a row for each pixel, below them the plain convolution's filter and what the colours mean."""
    atoms_top = max(float(pixel.atoms.abs().max()) for pixel in found)
    filters_top = max(float(values.abs().max()) for values in (plain, *(pixel.filter for pixel in found)))
    for left, title in (
        (_cell(9) - 2, "coefficients: a row for each atom"),
        (_ATOMS + 68, "6 atoms"),
        (_FILTER + 45, "filter"),
    ):
        canvas.text(left, _TOP - 26, title, 13.5, "ma")
    for number, (name, colour, pixel) in enumerate(zip(_PIXELS, _COLOURS, found, strict=True)):
        y = _TOP + number * _ROW_HEIGHT
        middle = y + _TILE / 2
        canvas.disc(_LEFT - 16, middle, 10, colour, str(number + 1))
        for basis, values in enumerate(pixel.coefficients.T):
            canvas.picture(_cell(basis), y, signed(values[:, None], 1), _CELL - 1)
        for atom, values in enumerate(pixel.atoms):
            canvas.picture(_ATOMS + atom % 3 * 46, y + atom // 3 * 46, signed(values, atoms_top), 44, GREY)
        canvas.picture(_FILTER, y, signed(pixel.filter, filters_top), _TILE, GREY)
        canvas.arrow(_ATOMS - 21, middle, 12)
        canvas.arrow(_FILTER - 21, middle, 12)
        canvas.text(_LEFT, y + _TILE + 4, name, 12, "la", GREY)
    bottom = _TOP + len(found) * _ROW_HEIGHT
    canvas.picture(_FILTER, bottom, signed(plain, filters_top), _TILE, GREY)
    canvas.text(_FILTER - 14, bottom + _TILE / 2, "plain convolution:\nthis one filter at every pixel", 13, "rm")
    for left, width, top in ((_LEFT, 120, 1.0), (_ATOMS, 134, atoms_top), (_FILTER, _TILE, filters_top)):
        canvas.scale(left, bottom + 104, width, partial(signed, top=top), (-top, top))


def _cell(number: int) -> int:
    """Find the left of the column of a basis; scales are apart."""
    return _LEFT + number * _CELL + number // _PER_SCALE * 4


def _grey(name: str) -> Tensor:
    """Read a photograph in grey, ``[1, H, W]``."""
    return torch.from_numpy(read_photograph(name)).mean(dim=2)[None]


def _noisy(clean: Tensor, generator: torch.Generator) -> Tensor:
    return clean + NOISE * torch.randn(clean.shape, generator=generator)
