"""Heat maps of the coefficients of every ACDA layer in a network, over the input (paper Figure 7)."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import center_crop  # type: ignore[import-untyped]

from acda.analysis import capture_scale_magnitudes
from lit_modules.callbacks.contracts import ShowsInput, ask
from lit_modules.output import arrange_panels, draw_heat, draw_image, is_due, log_picture


class CoefficientMaps(Callback):
    """Log, for each ACDA layer and a few images, which scale its filters use where.

    A picture a layer: of each image the image itself, then one map for each scale, the root mean square of the
    coefficients at each pixel (lighter is larger; one range of colours for an image, printed above it). Works with any
    network held as ``network`` by the task; without ACDA layers it does nothing.

    Args:
        num_images: Images of the first batch shown; 0 turns it off.
        every_n_epochs: While training, in every n-th epoch only.
        max_side: Of images that are higher or wider than this many pixels the middle is shown.

    Raises:
        ValueError: If ``num_images`` is negative, or ``every_n_epochs`` or ``max_side`` below 1.

    Reference:
        Paper Figure 7.
    """

    def __init__(self, num_images: int = 4, every_n_epochs: int = 1, max_side: int = 1024) -> None:
        if num_images < 0:
            raise ValueError(f"num_images must be at least 0, got {num_images}")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        if max_side < 1:
            raise ValueError(f"max_side must be at least 1, got {max_side}")
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs
        self.max_side = max_side

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Draw the maps of the first batch."""
        if batch_idx == 0 and is_due(trainer, self.every_n_epochs):
            self._draw(trainer, ask(self, pl_module, ShowsInput), batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Draw the maps of the first batch."""
        if batch_idx == 0:
            self._draw(trainer, ask(self, pl_module, ShowsInput), batch)

    def _draw(self, trainer: Trainer, task: ShowsInput, batch: Any) -> None:
        if not trainer.is_global_zero or self.num_images == 0:
            return
        images = task.network_input(batch)[: self.num_images]
        images = center_crop(images, [min(side, self.max_side) for side in images.shape[2:]])
        with (
            torch.no_grad(),
            trainer.precision_plugin.forward_context(),
            capture_scale_magnitudes(task.network) as layers,
        ):
            task.network(images)
        for name, maps in layers.items():
            log_picture(trainer, f"coefficients/{name}", draw_coefficients(images, maps))


def draw_coefficients(images: Tensor, maps: dict[int, Tensor]) -> Tensor:
    """Draw each image, then a map for each scale, enlarged to the image's size.

    Args:
        images: ``[N, 1 or 3, H, W]``, any range.
        maps: Scale → magnitudes ``[N, h, w]``.

    Returns:
        RGB picture, uint8 ``[3, H', W']``.
    """
    groups = []
    for i, image in enumerate(images):
        low = min(float(m[i].min()) for m in maps.values())
        high = max(float(m[i].max()) for m in maps.values())
        panels = [(f"input; maps {low:.2f} to {high:.2f}", draw_image(image))]
        for scale, values in maps.items():
            enlarged = F.interpolate(values[None, None, i], size=image.shape[1:], mode="nearest")[0, 0]
            panels.append((f"{scale}x{scale}: mean {float(values[i].mean()):.2f}", draw_heat(enlarged, low, high)))
        groups.append(panels)
    return arrange_panels(*groups)
