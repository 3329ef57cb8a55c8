from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from acda.models import AdResNet, CrowdCounter, ad_resnet_m, ad_resnet_s, load_weights


def small_backbone(num_classes: int | None = None, small_images: bool = False) -> AdResNet:
    return AdResNet(
        num_classes, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 8), small_images=small_images
    )


@pytest.mark.parametrize(("backbone", "parameters"), [(ad_resnet_s, 4_882_449), (ad_resnet_m, 11_573_521)])
def test_parameters_are_those_of_table_3(backbone: type[AdResNet], parameters: int) -> None:
    """4.87 M and 11.87 M in the paper, to the widths of transposed convolutions that it does not state."""
    with torch.device("meta"):
        counter = CrowdCounter(backbone(None))
    assert sum(p.numel() for p in counter.parameters()) == parameters


@pytest.mark.parametrize("small_images", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (33, 95), (1, 1)])
def test_density_covers_images_of_any_size(size: tuple[int, int], small_images: bool) -> None:
    counter = CrowdCounter(small_backbone(small_images=small_images)).eval()
    density = counter(torch.randn(2, 3, *size))
    assert density.shape == (2, 1, -(-size[0] // 4), -(-size[1] // 4))


def test_padding_adds_nothing_to_the_count() -> None:
    """A counter that sees one head in every cell, whatever it looks at, counts the cells of the image alone."""
    counter = CrowdCounter(small_backbone()).eval()
    nn.init.zeros_(counter.decoder[-1].weight)
    nn.init.ones_(counter.decoder[-1].bias)
    assert counter(torch.randn(1, 3, 70, 33)).sum() == 18 * 9


def test_what_is_padded_is_black_to_the_network() -> None:
    """An image gives the same as with the zeros around it that a multiple of the stride needs."""
    counter = CrowdCounter(small_backbone()).eval()
    image = torch.randn(1, 3, 50, 64)
    padded = nn.functional.pad(image, (0, 0, 0, 14))
    torch.testing.assert_close(counter(image), counter(padded)[:, :, :13])


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_output_stride_is_a_choice(stride: int) -> None:
    counter = CrowdCounter(small_backbone(small_images=True), stride, output_activation="none")
    assert counter(torch.randn(2, 3, 16, 24)).shape == (2, 1, 16 // stride, 24 // stride)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", lambda x: x.clamp(min=0)), ("softplus", lambda x: x.exp().log1p()), ("abs", abs), ("none", lambda x: x)],
)
def test_output_activation_is_what_it_says(activation: str, expected: type) -> None:
    backbone = small_backbone()
    plain = CrowdCounter(backbone, output_activation="none").eval()
    activated = CrowdCounter(backbone, output_activation=activation).eval()
    activated.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(activated(image), expected(plain(image)))
    assert (plain(image) < 0).any() or activation != "relu"


def test_decoder_keeps_the_variance_at_first() -> None:
    """Rectified, a transposed convolution's output has the mean square of its input; the density has twice that."""
    torch.manual_seed(0)
    counter = CrowdCounter(ad_resnet_s(None))
    x = torch.randn(1, counter.backbone.feature_channels, 24, 24)
    energies = [float(x.square().mean())]
    with torch.no_grad():
        for layer in counter.decoder:
            x = layer(x)
            if not isinstance(layer, nn.ConvTranspose2d):
                energies.append(float(x[:, :, 8:-8, 8:-8].square().mean()))
    gains = [after / before for before, after in pairwise(energies)]
    assert gains[:-1] == pytest.approx([1, 1, 1], abs=0.3)
    assert 0.4 < gains[-1] < 6  # of one channel, so that chance has its part


def test_nearly_every_draw_begins_with_a_density() -> None:
    """With PyTorch's own weights nearly half of all draws give zero everywhere, and learn nothing."""
    image = torch.randn(1, 3, 64, 64)
    counts = []
    for seed in range(10):
        torch.manual_seed(seed)
        with torch.no_grad():
            counts.append(float(CrowdCounter(small_backbone()).eval()(image).sum()))
    assert sum(count > 0 for count in counts) >= 9


@pytest.mark.parametrize("train", [True, False])
def test_a_counter_that_counts_nothing_learns_to_count(train: bool) -> None:
    """Its density stays zero, as it must, but where heads are missing the gradient raises it."""
    counter = CrowdCounter(small_backbone()).train(train)
    last = counter.decoder[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.constant_(last.bias, -100.0)
    density = counter(torch.randn(2, 3, 64, 64))
    assert not density.any()
    (density - 1).square().sum().backward()
    assert last.bias.grad is not None
    assert float(last.bias.grad) == pytest.approx(-0.1 * 2 * density.numel() if train else 0)


def test_where_a_counter_counts_its_gradient_is_the_densitys() -> None:
    counter = CrowdCounter(small_backbone()).train()
    last = counter.decoder[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.constant_(last.bias, 100.0)
    density = counter(torch.randn(2, 3, 64, 64))
    density.sum().backward()
    assert last.bias.grad is not None
    assert float(last.bias.grad) == density.numel()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_stride": 3}, "output_stride must be one of 32, 16, 8, 4 with widths=.*, got 3"),
        ({"output_stride": 2}, "output_stride must be one of"),
        ({"output_stride": 64}, "output_stride must be one of"),
        ({"output_activation": "tanh"}, "output_activation must be one of .*'relu'.*, got 'tanh'"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrowdCounter(small_backbone(), **arguments)


def test_a_backbone_with_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=None"):
        CrowdCounter(small_backbone(num_classes=10))


def test_a_classifier_gives_its_weights_to_the_backbone(tmp_path: Path) -> None:
    classifier, counter = small_backbone(num_classes=10), CrowdCounter(small_backbone())
    state = {f"network.{key}": value for key, value in classifier.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "classifier.ckpt")
    report = load_weights(counter, tmp_path / "classifier.ckpt")
    ours = classifier.features(torch.ones(2, 3, 64, 64))
    torch.testing.assert_close(counter.backbone(torch.ones(2, 3, 64, 64)), ours)
    assert set(report.unused) == {"network.fc.weight", "network.fc.bias"}
    assert {key.split(".")[0] for key in report.kept} == {"decoder"}
