"""DnCNN: plain convolutions with batch norm that predict the noise."""

from torch import Tensor, nn

from acda.models.plain import plain_convolutions


class DnCNN(nn.Module):
    """Denoising network: a chain of 3×3 convolutions whose output, the noise, is subtracted from the image.

    The convolutions between the first and the last have batch norm. Weights are drawn as published, by the method of
    He et al.

    Args:
        channels: Channels of the image.
        width: Channels between convolutions.
        depth: Convolutions, at least 2: 20 is DnCNN-B, which knows nothing of the noise, 17 is DnCNN-S.

    Shape:
        Image and output ``[N, channels, H, W]``.

    Attributes:
        total_stride: 1.
        output_stride: 1.

    Raises:
        ValueError: If ``depth`` is below 2.

    Reference:
        Zhang, Zuo, Chen, Meng, Zhang, *Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising*,
        IEEE Transactions on Image Processing 26(7), 2017. 669,379 parameters in colour, 667,073 of one channel.
    """

    def __init__(self, channels: int = 3, width: int = 64, depth: int = 20) -> None:
        super().__init__()
        self.total_stride = 1
        self.output_stride = 1
        self.body = plain_convolutions(channels, channels, width, depth, nn.ReLU, batch_norm=True)

    def forward(self, image: Tensor) -> Tensor:
        """Denoise an image."""
        output: Tensor = image - self.body(image)
        return output
