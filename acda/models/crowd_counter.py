"""Crowd counting by density: a backbone and a few transposed convolutions."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from acda.models.contracts import Backbone, fulfils
from acda.models.padding import pad_to_multiple
from acda.models.plain import draw_he

OutputActivation = Literal["relu", "softplus", "abs", "none"]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softplus": F.softplus,
    "abs": Tensor.abs,
    "none": lambda density: density,
}
_SLOPE = 0.1  # of the rectified density's gradient where nothing is counted


class CrowdCounter(nn.Module):
    """Estimates the density of heads: a backbone's feature map, transposed convolutions that double its resolution.

    The image is padded with zeros at the bottom and the right to a multiple of the backbone's stride, and what the
    padding adds to the output is cut off, so that images of any size are counted whole.

    The transposed convolutions keep the variance of features at first. With PyTorch's own weights each of them leaves
    about a tenth of it: the density begins as little more than the last bias, in nearly half of all draws below zero
    all over the image; rectified it is zero then and has no gradient, so that such a counter never counts. In training,
    where nothing is counted, a tenth of the rectified density's gradient passes nevertheless.

    Args:
        backbone: Gives a feature map ``[N, feature_channels, H / feature_stride, W / feature_stride]``, both attributes
            of it: Ad-ResNet without its head (``num_classes=None``), or a network of your own. Weights of a classifier
            are loaded into it with :func:`acda.models.load_weights`, from the command line with ``WarmStart``.
        output_stride: Pixels of the image between neighbours in the density map: a power of two up to the backbone's
            stride.
        widths: Of the transposed convolutions, first to last; as many as it takes from the backbone's stride to
            ``output_stride``, further ones are left out.
        output_activation: What keeps the density from being negative: ``"relu"``, ``"softplus"`` (always positive),
            ``"abs"``, or ``"none"``.

    Shape:
        Image ``[N, in_channels, H, W]``, density ``[N, 1, ⌈H / output_stride⌉, ⌈W / output_stride⌉]``.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels.
        output_stride: As given.

    Raises:
        ValueError: If the backbone has a head or lacks the attributes, ``output_activation`` is none of these, or
            ``output_stride`` cannot be reached with ``widths``.

    Reference:
        Paper section 4.2, Table 3: 4,882,449 parameters with Ad-ResNet-s (4.87 M), 11,573,521 with m (11.87 M).
    """

    def __init__(
        self,
        backbone: nn.Module,
        output_stride: int = 4,
        widths: Sequence[int] = (256, 128, 64),
        output_activation: OutputActivation = "relu",
    ) -> None:
        super().__init__()
        if getattr(backbone, "fc", None) is not None:
            raise ValueError("backbone must give features: build it with num_classes=None (null in YAML)")
        self.backbone = backbone
        if not fulfils(backbone, Backbone):
            name = type(backbone).__name__
            raise ValueError(f"backbone must have feature_stride and feature_channels, which {name} has not")
        stride, channels = backbone.feature_stride, backbone.feature_channels
        if output_activation not in _ACTIVATIONS:
            raise ValueError(f"output_activation must be one of {sorted(_ACTIVATIONS)}, got {output_activation!r}")
        steps = [stride >> doublings for doublings in range(len(widths) + 1)]
        if output_stride not in steps or output_stride < 1:
            reached = ", ".join(str(step) for step in steps if step)
            raise ValueError(f"output_stride must be one of {reached} with widths={list(widths)}, got {output_stride}")
        self.total_stride = stride
        self.output_stride = output_stride
        self.output_activation = output_activation
        layers: list[nn.Module] = []
        for width in widths[: steps.index(output_stride)]:
            layers += [nn.ConvTranspose2d(channels, width, 3, 2, padding=1, output_padding=1), nn.ReLU(inplace=True)]
            channels = width
        self.decoder = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))
        draw_he(self.decoder, transposed=True)

    def forward(self, image: Tensor) -> Tensor:
        """Estimate the density of heads, up to the scale it was trained with."""
        step = self.output_stride
        height, width = ((side + step - 1) // step for side in image.shape[2:])  # in ONNX division rounds towards zero
        features = self.backbone(pad_to_multiple(image, self.total_stride))
        density: Tensor = self.decoder(features)[..., :height, :width]
        if self.training and self.output_activation == "relu":
            return _rectify(density)
        return _ACTIVATIONS[self.output_activation](density)


def _rectify(density: Tensor) -> Tensor:
    """ReLU whose gradient is leaky, so that a density that is zero everywhere can rise."""
    leaky = F.leaky_relu(density, _SLOPE)
    return leaky + (F.relu(density) - leaky).detach()
