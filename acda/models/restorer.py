"""The paper's restoration network: dynamic bottlenecks at a quarter of the image's resolution."""

from torch import Tensor, nn

from acda.layers import ACDAConv2d, ConvFactory
from acda.models.padding import pad_to_multiple
from acda.models.residual import DynamicBottleneck


class Restorer(nn.Module):
    """Restores an image: two convolutions that pixel-unshuffle, dynamic bottlenecks, two that pixel-shuffle.

    The image is continued by its last rows and columns to a multiple of 4 and the result is cropped: unlike
    reflection this continues an image of any size, and unlike zeros it adds no edge.

    Every bottleneck's branch starts at zero, by the scale of its last norm. Otherwise the image drowns in what the
    branches give, each of unit variance: 200 steps of Adam at 1e-3 that denoise by 9 dB then denoise not at all.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the output.
        conv: Which convolution stands in the bottlenecks: ACDA, ``nn.Conv2d`` for the paper's baseline, or any other.
        width: Of the first convolution; the bottlenecks have 16 times as many channels.
        inner_width: Channels of the convolution within a bottleneck.
        depth: Bottlenecks.
        kernel_size: Side of the filters within a bottleneck, odd.
        residual: Predict what is added to the image, nothing at first. Otherwise the output is what the last
            convolution gives, as :class:`acda.models.VariationalDenoiser` wants it, with
            ``out_channels = 2 · in_channels``.

    Shape:
        Image ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``, H and W at least 1.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels: 4.
        output_stride: 1.

    Raises:
        ValueError: If the output has other channels than the image and ``residual`` is set.

    Reference:
        Paper section 4.3. 1,959,603 parameters with ACDA (paper Table 5: 1.97 M). With plain convolutions 3×3 it has
        1,786,867, 5×5 3,884,019, 7×7 7,029,747; the paper's baseline of 2.28 M is none of these. The paper gives
        neither widths nor initial weights, and does not say whether the image is added; that is ours.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        conv: ConvFactory = ACDAConv2d,
        width: int = 16,
        inner_width: int = 128,
        depth: int = 8,
        kernel_size: int = 7,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if residual and in_channels != out_channels:
            raise ValueError(f"residual must be False where {in_channels=} and {out_channels=} differ, got True")
        half, quarter = 4 * width, 16 * width
        self.residual = residual
        self.total_stride = 4
        self.output_stride = 1
        self.head = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.PixelUnshuffle(2),
            nn.Conv2d(half, half, 3, padding=1),
            nn.PixelUnshuffle(2),
        )
        blocks = [DynamicBottleneck(quarter, inner_width, quarter, kernel_size, 1, conv) for _ in range(depth)]
        last = nn.Conv2d(width, out_channels, 3, padding=1)
        self.body = nn.Sequential(*blocks)
        self.tail = nn.Sequential(
            nn.PixelShuffle(2),
            nn.Conv2d(half, half, 3, padding=1),
            nn.PixelShuffle(2),
            last,
        )
        for block in blocks:
            assert isinstance(block.bn3.weight, Tensor)
            nn.init.zeros_(block.bn3.weight)
        if residual:
            nn.init.zeros_(last.weight)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Restore an image."""
        height, width = image.shape[2:]
        padded = pad_to_multiple(image, self.total_stride, "replicate")
        output: Tensor = self.tail(self.body(self.head(padded)))[..., :height, :width]
        return image + output if self.residual else output
