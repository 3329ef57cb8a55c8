"""VDSR: plain convolutions that predict what a degraded image lacks."""

from torch import Tensor, nn

from acda.models.plain import plain_convolutions


class VDSR(nn.Module):
    """Very deep super-resolution: a chain of 3×3 convolutions with ReLU whose output is added to the image.

    Weights are drawn as published, by the method of He et al.

    Args:
        channels: Channels of the image.
        width: Channels between convolutions.
        depth: Convolutions, at least 2.

    Shape:
        Image and output ``[N, channels, H, W]``.

    Attributes:
        total_stride: 1.
        output_stride: 1.

    Raises:
        ValueError: If ``depth`` is below 2.

    Reference:
        Kim, Lee, Lee, *Accurate Image Super-Resolution Using Very Deep Convolutional Networks*, CVPR 2016. 668,227
        parameters in colour, 665,921 of one channel.
    """

    def __init__(self, channels: int = 3, width: int = 64, depth: int = 20) -> None:
        super().__init__()
        self.total_stride = 1
        self.output_stride = 1
        self.body = plain_convolutions(channels, channels, width, depth, nn.ReLU)

    def forward(self, image: Tensor) -> Tensor:
        """Restore an image."""
        output: Tensor = image + self.body(image)
        return output
