"""The one-layer network of the pattern experiment."""

from torch import Tensor, nn

from acda.layers import ConvFactory


class SingleLayer(nn.Module):
    """One convolution from one channel to one channel, at the input's resolution.

    Args:
        conv: Which convolution.
        kernel_size: Side of its filter in pixels, odd.

    Shape:
        Input and output ``[N, 1, H, W]``.

    Reference:
        Paper section 3.3, Figure 6.
    """

    def __init__(self, conv: ConvFactory = nn.Conv2d, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = conv(1, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, image: Tensor) -> Tensor:
        """Predict a detection map."""
        prediction: Tensor = self.conv(image)
        return prediction
