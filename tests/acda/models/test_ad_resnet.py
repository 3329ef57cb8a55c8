"""Ad-ResNets: sizes, shapes, and weights that go from one network to another."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from acda import ACDAConv2d
from acda.models import AdResNet, ad_resnet_l, ad_resnet_m, ad_resnet_s, load_weights

# Ours, and the paper's Table 2 in millions.
SIZES = [(ad_resnet_s, 3_846_648, 3.85), (ad_resnet_m, 9_870_072, 9.83), (ad_resnet_l, 18_215_544, 18.19)]


def small(num_classes: int | None = 5, **options: object) -> AdResNet:
    return AdResNet(num_classes, widths=(4, 8, 8, 16), plain_depths=(1, 1), dynamic_depths=(1, 1), **options)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("build", "ours", "paper"), SIZES)
def test_parameters(build: Callable[[], AdResNet], ours: int, paper: float) -> None:
    with torch.device("meta"):
        network = build()
    assert parameters(network) == ours
    assert ours / 1e6 == pytest.approx(paper, rel=0.005)


@pytest.mark.parametrize("build", [size[0] for size in SIZES])
def test_a_training_step_changes_every_parameter(build: Callable[..., AdResNet]) -> None:
    network = build(num_classes=7)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    logits = network(torch.randn(2, 3, 48, 64))
    assert logits.shape == (2, 7)
    nn.functional.cross_entropy(logits, torch.tensor([1, 5])).backward()
    optimizer.step()
    same = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert not same


@pytest.mark.parametrize(
    ("build", "channels"),
    [
        (ad_resnet_s, (64, 128, 256, 512)),
        (ad_resnet_m, (256, 512, 512, 1024)),
        (ad_resnet_l, (256, 512, 512, 1024)),
    ],
)
def test_stages(build: Callable[..., AdResNet], channels: tuple[int, ...]) -> None:
    """Channels and resolutions after each stage, and filters of 7×7 and 5×5 pixels in the last two."""
    with torch.device("meta"):
        network = build(num_classes=None)
        x = network.maxpool(network.conv1(torch.empty(1, 3, 224, 224)))
    for number, width in enumerate(channels):
        x = network.get_submodule(f"layer{number + 1}")(x)
        assert x.shape == (1, width, 56 // 2**number, 56 // 2**number)
    assert network.feature_channels == channels[-1]
    for stage, side in ((network.layer3, 7), (network.layer4, 5)):
        convs = [m for m in stage.modules() if isinstance(m, ACDAConv2d)]
        assert len(convs) == len(stage)
        assert {(conv.kernel_size, conv.stride) for conv in convs} == {((side, side), (1, 1))}


def test_features_are_rounded_up_thirty_seconds_of_the_image() -> None:
    network = small(None)
    assert network(torch.randn(1, 3, 65, 100)).shape == (1, 32, 3, 4)


def test_features_of_small_images_are_four_times_as_large() -> None:
    assert small(None, small_images=True)(torch.randn(1, 3, 8, 17)).shape == (1, 32, 1, 3)


def test_plain_convolutions_in_their_place_are_drawn_like_the_others() -> None:
    torch.manual_seed(0)
    network = ad_resnet_s(num_classes=3, conv=nn.Conv2d)
    assert not any(isinstance(m, ACDAConv2d) for m in network.modules())
    weight = network.layer3[0].conv2.weight
    assert weight.shape == (128, 128, 7, 7)
    assert float(weight.detach().std()) == pytest.approx((2 / (128 * 49)) ** 0.5, rel=0.02)


def test_adaptive_convolutions_keep_the_weights_they_drew() -> None:
    made: list[tuple[ACDAConv2d, list[Tensor]]] = []

    def conv(*arguments: int, **options: object) -> ACDAConv2d:
        layer = ACDAConv2d(*arguments, **options)
        made.append((layer, [p.detach().clone() for p in layer.parameters()]))
        return layer

    small(conv=conv)
    assert len(made) == 2
    for layer, drawn in made:
        assert all(torch.equal(p, q) for p, q in zip(layer.parameters(), drawn, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plain_block": "wide"}, r"plain_block must be one of \['basic', 'bottleneck'\], got 'wide'"),
        ({"kernel_sizes": (7,)}, r"kernel_sizes must have 2 numbers, got \[7\]"),
        ({"widths": (64, 128)}, r"widths must have 4 numbers, got \[64, 128\]"),
        ({"kernel_sizes": (7, 4)}, "kernel_size must be odd and square, got 4"),
    ],
)
def test_wrong_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdResNet(10, **options)


def test_classifier_loads_into_its_feature_extractor_with_nothing_missing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier, extractor = small().eval(), small(None).eval()
    path = tmp_path / "classifier.ckpt"
    state = {f"network.{key}": value for key, value in classifier.state_dict().items()}
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(3)}, "epoch": 3}, path)
    report = load_weights(extractor, path)
    assert (report.kept, report.mismatched) == ((), ())
    assert set(report.loaded) == set(extractor.state_dict())
    assert set(report.unused) == {"network.fc.weight", "network.fc.bias", "loss.weight"}
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(extractor(image), classifier.features(image))


class Counter(nn.Module):
    """A network with a backbone and something else."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = small(None)
        self.head = nn.Conv2d(32, 1, 1)


def test_classifier_loads_into_a_backbone(tmp_path: Path) -> None:
    classifier, counter = small(), Counter()
    torch.save(classifier.state_dict(), tmp_path / "raw.pt")
    report = load_weights(counter, tmp_path / "raw.pt")
    assert set(report.kept) == {"head.weight", "head.bias"}
    assert torch.equal(counter.backbone.conv1.weight, classifier.conv1.weight)
    text = str(report)
    assert "kept as they were: head.weight, head.bias" in text
    assert "not used: fc.weight, fc.bias" in text


def test_another_number_of_classes_keeps_the_head(tmp_path: Path) -> None:
    torch.save(small(num_classes=9).state_dict(), tmp_path / "nine.pt")
    network = small()
    head = network.fc.weight.clone()
    report = load_weights(network, tmp_path / "nine.pt")
    assert set(report.mismatched) == {"fc.weight [9, 32] for [5, 32]", "fc.bias [9] for [5]"}
    assert torch.equal(network.fc.weight, head)


@pytest.mark.parametrize(
    ("build", "source", "loaded"),
    [
        (ad_resnet_s, torchvision.models.resnet34, ("conv1", "bn1", "layer1", "layer2")),
        (ad_resnet_m, torchvision.models.resnet50, ("conv1", "bn1", "layer1", "layer2")),
    ],
)
def test_torchvision_weights_load_into_the_plain_parts(
    build: Callable[[], AdResNet], source: Callable[[], nn.Module], loaded: tuple[str, ...], tmp_path: Path
) -> None:
    theirs = source()
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    network = build()
    report = load_weights(network, tmp_path / "resnet.pth")
    plain = {key for key in network.state_dict() if key.split(".")[0] in loaded}
    assert plain <= set(report.loaded)
    assert not any(".conv2." in key and key.startswith(("layer3", "layer4")) for key in report.loaded)
    x = torch.randn(1, 3, 64, 64)
    network.eval(), theirs.eval()

    def first_two(net: nn.Module) -> Tensor:
        return net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))

    assert torch.equal(first_two(network), first_two(theirs))


def test_weights_that_cannot_be_used(tmp_path: Path) -> None:
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"weights '.*none.pt': no such file"):
        load_weights(network, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(ValueError, match="cannot be read: damaged, or no file of weights"):
        load_weights(network, tmp_path / "text.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(ValueError, match="hold no state dict"):
        load_weights(network, tmp_path / "empty.pt")
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"fit nothing in AdResNet: they hold weight, bias, it has conv1\.weight"):
        load_weights(network, tmp_path / "other.pt")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": small().state_dict(), "evil": _Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_weights(small(), tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out
