"""LeNet with a choice of convolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from acda.layers import ConvFactory


class LeNet(nn.Module):
    """LeNet: two convolutions, each with ReLU and 2×2 max-pooling, then three linear layers.

    Args:
        num_classes: Width of the output.
        in_channels: Channels of the image.
        image_size: Side of the (square) image in pixels.
        conv: Which convolution stands in both places.
        channels: Widths of the two convolutions.
        kernel_size: Side of their filters in pixels, odd.
        padding: Zeros around their inputs in pixels; ``kernel_size // 2`` keeps the size.
        hidden_features: Widths of the first two linear layers.

    Attributes:
        image_size: As given.

    Shape:
        Image ``[N, in_channels, image_size, image_size]``, logits ``[N, num_classes]``.

    Raises:
        ValueError: If the image is too small for two convolutions and poolings.

    Reference:
        LeCun, Bottou, Bengio, Haffner, *Gradient-Based Learning Applied to Document Recognition*, 1998; paper Table 1,
        which replaces both convolutions. The paper states no widths; the defaults are LeCun's.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        conv: ConvFactory = nn.Conv2d,
        channels: Sequence[int] = (6, 16),
        kernel_size: int = 5,
        padding: int = 0,
        hidden_features: Sequence[int] = (120, 84),
    ) -> None:
        super().__init__()
        self.image_size = side = image_size
        for _ in range(2):
            side = (side + 2 * padding - kernel_size + 1) // 2
        if side < 1:
            least = 3 * (kernel_size - 2 * padding) + 1
            raise ValueError(f"image_size must be at least {least} with {kernel_size=}, {padding=}, got {image_size}")
        self.features = nn.Sequential(
            conv(in_channels, channels[0], kernel_size, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            conv(channels[0], channels[1], kernel_size, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[1] * side**2, hidden_features[0]),
            nn.ReLU(),
            nn.Linear(hidden_features[0], hidden_features[1]),
            nn.ReLU(),
            nn.Linear(hidden_features[1], num_classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits."""
        logits: Tensor = self.classifier(self.features(image))
        return logits
