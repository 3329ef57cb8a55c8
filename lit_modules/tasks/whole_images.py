"""Networks evaluated on whole images: at once or in tiles, as they are or in several poses."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from acda.analysis import receptive_halo
from acda.inference import Pose, apply_tiled, self_ensemble
from acda.models.contracts import Tileable, fulfils, output_stride, total_stride
from acda.models.padding import pad_to_multiple
from lit_modules.errors import UsageError

_DELAY = 2.0  # seconds before a bar appears
_SECONDS = 10.0  # between two lines about one image


class WholeImageNetwork:
    """Applies a network that gives a map of its image to images of any size.

    Args:
        network: In evaluation mode, maps ``[N, C, H, W]`` to ``[N, C', ⌈H / s⌉, ⌈W / s⌉]``; s is its ``output_stride``,
            1 if it has none.
        tile: Take images in parts of this side in pixels, a multiple of the network's ``total_stride``, with the
            surroundings that they depend on: the result is that of the whole image, in less memory. None: whole.
        poses: Take the mean over these poses of the image, each turned back. None: the image as it is.

    Raises:
        ValueError: If ``tile`` does not suit the network's strides.
    """

    def __init__(self, network: nn.Module, tile: int | None = None, poses: Sequence[Pose] | None = None) -> None:
        if tile is not None:
            _check_tile(tile, network)
        self.network = network
        self.tile = tile
        self.poses = poses
        self._halo: int | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the network.

        Args:
            image: ``[N, C, H, W]``.

        Returns:
            ``[N, C', ⌈H / s⌉, ⌈W / s⌉]``.

        Raises:
            UsageError: If the image was to be tiled and the network reads it as a whole.
        """
        apply: Callable[[Tensor], Tensor] = self.network if self.tile is None else partial(self._apply_tiled, self.tile)
        if self.poses is None:
            return apply(image)
        # Padded to whole cells of the output, else those of another pose would lie elsewhere.
        return self_ensemble(apply, pad_to_multiple(image, output_stride(self.network)), self.poses)

    def _apply_tiled(self, tile: int, image: Tensor) -> Tensor:
        align = total_stride(self.network)
        if self._halo is None:
            self._halo = _find_halo(self.network, image.shape[1], align)
        with _TileProgress() as progress:
            return apply_tiled(self.network, image, tile, self._halo, align, output_stride(self.network), progress)


class _TileProgress:
    """Shows how far a large image has come, of which the run's own bar knows nothing.

    It is a bar in a terminal, elsewhere a line every now and then.
    """

    def __enter__(self) -> Self:
        quiet = True if rank_zero_only.rank else None  # type: ignore[attr-defined]  # None: only in a terminal
        self._bar = tqdm(desc="an image", unit=" tiles", delay=_DELAY, leave=False, disable=quiet)
        self._last_line = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update()
        if self._bar.disable and done < total and time.monotonic() - self._last_line > _SECONDS:
            self._last_line = time.monotonic()
            rank_zero_info(f"tile {done} of {total} of an image is done")


def _find_halo(network: nn.Module, in_channels: int, align: int) -> int:
    try:
        return receptive_halo(network, in_channels, align)
    except ValueError as error:
        raise UsageError(f"{error}. Leave --model.init_args.tile away (null) to evaluate images whole") from error


def _check_tile(tile: int, network: nn.Module) -> None:
    if not fulfils(network, Tileable):
        raise ValueError(
            f"tile={tile} needs a network that states its output_stride and total_stride; {type(network).__name__} "
            "does not: leave it None"
        )
    stride = network.total_stride
    if tile < 1 or tile % stride:
        raise ValueError(f"tile must be a positive multiple of {stride}, the network's total stride, got {tile}")
