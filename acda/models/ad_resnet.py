"""Ad-ResNets: residual networks whose deep stages are dynamic bottlenecks."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from acda.layers import ACDAConv2d, ConvFactory, NormFactory
from acda.models.residual import BasicBlock, Bottleneck, DynamicBottleneck

_PLAIN: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class AdResNet(nn.Module):
    """A residual network: a stem, two stages of plain blocks, two stages of dynamic bottlenecks, a linear head.

    Feature maps are 1/4, 1/8, 1/16 and 1/32 of the image's size. Parts are named as in torchvision's ResNet, so its
    weights load into the plain ones.

    Args:
        num_classes: Width of the output; None leaves out pooling and head, and the network gives its feature map.
        in_channels: Channels of the image.
        conv: Which convolution stands in the dynamic bottlenecks: ACDA, ``nn.Conv2d`` for the paper's baseline, or any
            other.
        plain_block: ``"basic"`` or ``"bottleneck"``, in the first two stages.
        plain_depths: Blocks in each of the first two stages.
        dynamic_depths: Blocks in each of the last two.
        widths: Of the blocks of each stage, before what a bottleneck expands.
        kernel_sizes: Sides of the filters in the last two stages, odd.
        small_images: Begin with a 3×3 convolution and no pooling, as is usual for images of some ten pixels: feature
            maps are then 4 times as large on each side.
        norm: Makes the norm after each convolution but those that ACDA's generators have, which take it from ``conv``.

    Shape:
        Image ``[N, in_channels, H, W]``; logits ``[N, num_classes]``, or features ``[N, feature_channels, ⌈H/32⌉,
        ⌈W/32⌉]``.

    Attributes:
        feature_channels: Channels of the feature map.
        feature_stride: Pixels of the image between neighbours in it: 32, or 8 with ``small_images``.

    Raises:
        ValueError: If ``plain_block`` is not one of the two, or a sequence has the wrong length.

    Reference:
        Paper section 4.1 and Table 2. The widths that reach the paper's parameter counts are ours.
    """

    def __init__(
        self,
        num_classes: int | None = 1000,
        in_channels: int = 3,
        conv: ConvFactory = ACDAConv2d,
        plain_block: Literal["basic", "bottleneck"] = "basic",
        plain_depths: Sequence[int] = (3, 4),
        dynamic_depths: Sequence[int] = (2, 2),
        widths: Sequence[int] = (64, 128, 128, 256),
        kernel_sizes: Sequence[int] = (7, 5),
        small_images: bool = False,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if plain_block not in _PLAIN:
            raise ValueError(f"plain_block must be one of {sorted(_PLAIN)}, got {plain_block!r}")
        lengths = {
            "plain_depths": (plain_depths, 2),
            "dynamic_depths": (dynamic_depths, 2),
            "widths": (widths, 4),
            "kernel_sizes": (kernel_sizes, 2),
        }
        for name, (values, length) in lengths.items():
            if len(values) != length:
                raise ValueError(f"{name} must have {length} numbers, got {list(values)}")
        plain, stem = _PLAIN[plain_block], widths[0]
        side, stride = (3, 1) if small_images else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, stem, side, stride, side // 2, bias=False)
        self.bn1 = norm(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        first, second = (width * plain.expansion for width in widths[:2])
        third, fourth = (2 * width for width in widths[2:])
        self.layer1 = _plain_stage(plain, stem, widths[0], plain_depths[0], 1, norm)
        self.layer2 = _plain_stage(plain, first, widths[1], plain_depths[1], 2, norm)
        self.layer3 = _dynamic_stage(second, widths[2], third, dynamic_depths[0], kernel_sizes[0], conv, norm)
        self.layer4 = _dynamic_stage(third, widths[3], fourth, dynamic_depths[1], kernel_sizes[1], conv, norm)
        self.feature_channels = fourth
        self.feature_stride = 8 if small_images else 32
        self.fc = None if num_classes is None else nn.Linear(fourth, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Draw plain convolutions as torchvision's ResNet does; others have drawn their weights themselves."""
        middle = [m.conv2 for m in self.modules() if isinstance(m, DynamicBottleneck)]
        others = [conv for conv in middle if type(conv) is not nn.Conv2d]
        inside = {module for other in others for module in other.modules()}
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in inside:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, image: Tensor) -> Tensor:
        """Compute the feature map ``[N, feature_channels, ⌈H/32⌉, ⌈W/32⌉]``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits, or features where there is no head."""
        features = self.features(image)
        if self.fc is None:
            return features
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


def _plain_stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, depth: int, stride: int, norm: NormFactory
) -> nn.Sequential:
    out_channels = width * block.expansion
    first = block(in_channels, width, stride, norm)
    return nn.Sequential(first, *(block(out_channels, width, 1, norm) for _ in range(depth - 1)))


def _dynamic_stage(
    in_channels: int,
    width: int,
    out_channels: int,
    depth: int,
    kernel_size: int,
    conv: ConvFactory,
    norm: NormFactory,
) -> nn.Sequential:
    first = DynamicBottleneck(in_channels, width, out_channels, kernel_size, 2, conv, norm)
    rest = (DynamicBottleneck(out_channels, width, out_channels, kernel_size, 1, conv, norm) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def ad_resnet_s(
    num_classes: int | None = 1000,
    in_channels: int = 3,
    conv: ConvFactory = ACDAConv2d,
    norm: NormFactory = nn.BatchNorm2d,
) -> AdResNet:
    """Ad-ResNet-s: basic blocks; 3,846,648 parameters (paper Table 2: 3.85 M). Arguments as in :class:`AdResNet`."""
    return AdResNet(num_classes, in_channels, conv, norm=norm)


def ad_resnet_m(
    num_classes: int | None = 1000,
    in_channels: int = 3,
    conv: ConvFactory = ACDAConv2d,
    norm: NormFactory = nn.BatchNorm2d,
) -> AdResNet:
    """Ad-ResNet-m: bottlenecks; 9,870,072 parameters (paper Table 2: 9.83 M). Arguments as in :class:`AdResNet`."""
    return AdResNet(num_classes, in_channels, conv, "bottleneck", widths=(64, 128, 256, 512), norm=norm)


def ad_resnet_l(
    num_classes: int | None = 1000,
    in_channels: int = 3,
    conv: ConvFactory = ACDAConv2d,
    norm: NormFactory = nn.BatchNorm2d,
) -> AdResNet:
    """Ad-ResNet-l: as m, deeper; 18,215,544 parameters (paper Table 2: 18.19 M). Arguments as in :class:`AdResNet`."""
    widths = (64, 128, 256, 512)
    return AdResNet(num_classes, in_channels, conv, "bottleneck", dynamic_depths=(6, 4), widths=widths, norm=norm)
