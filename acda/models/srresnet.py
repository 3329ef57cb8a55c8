"""SRResNet, for images that already have the size of the result."""

from torch import Tensor, nn

from acda.models.padding import pad_to_multiple


class SRResNet(nn.Module):
    """Residual blocks with batch norm at a quarter of the image's resolution.

    The published network enlarges its input fourfold. Here the input has the output's size already: it is
    pixel-unshuffled by 4 first, after which nothing differs but the channels that the first convolution sees. The image
    is continued by its last rows and columns to a multiple of 4 and the result is cropped, so it may be of any size.
    Weights are PyTorch's own draw; the publication states none.

    Args:
        channels: Channels of the image.
        width: Channels within the network.
        depth: Residual blocks.

    Shape:
        Image and output ``[N, channels, H, W]``, H and W at least 1.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels: 4.
        output_stride: 1.

    Reference:
        Ledig et al., *Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network*, CVPR 2017,
        Figure 4. 1,780,630 parameters in colour.
    """

    def __init__(self, channels: int = 3, width: int = 64, depth: int = 16) -> None:
        super().__init__()
        self.total_stride = 4
        self.output_stride = 1
        self.head = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * channels, width, 9, padding=4),
            nn.PReLU(),
        )
        self.body = nn.Sequential(
            *(_Block(width) for _ in range(depth)),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.tail = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.PReLU(),
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.PReLU(),
            nn.Conv2d(width, channels, 9, padding=4),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Restore an image."""
        height, width = image.shape[2:]
        features = self.head(pad_to_multiple(image, self.total_stride, "replicate"))
        output: Tensor = self.tail(features + self.body(features))
        return output[..., :height, :width]


class _Block(nn.Module):
    """Convolution → norm → PReLU → convolution → norm, plus the shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.prelu(self.bn1(self.conv1(x)))
        output: Tensor = x + self.bn2(self.conv2(hidden))
        return output
