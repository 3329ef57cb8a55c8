"""``export``: files that give what the network gives, and what is said where there can be none."""

import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from acda import ACDAConv2d
from acda.models import AdResNet, CrowdCounter, LeNet, Restorer
from lit_modules.cli import export
from lit_modules.cli.export import export_network
from lit_modules.errors import UsageError
from tests.cli.conftest import Refuse, run

CONFIG = Path(__file__).parents[2] / "configs" / "digits" / "lenet_acda.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of LeNet + ACDA, after a few steps of training."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLURM_JOB_ID", raising=False)
        run("fit", "--config", CONFIG, "--trainer.accelerator=cpu", "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1",
            f"--trainer.default_root_dir={folder}")  # fmt: skip
    return folder / "version_0"


def trained_network(folder: Path) -> nn.Module:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    network = LeNet(in_channels=1, image_size=8, conv=ACDAConv2d, kernel_size=5, padding=2).eval()
    weights = checkpoint["state_dict"]
    network.load_state_dict({k[8:]: v for k, v in weights.items() if k.startswith("network.")})
    return network


def apply_torch_export(path: Path, image: Tensor) -> Tensor:
    return torch.export.load(path).module()(image)


def apply_onnx(path: Path, image: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])


@pytest.mark.parametrize(("format", "name", "apply"), [
    ("torch_export", "model.pt2", apply_torch_export),
    ("onnx", "model.onnx", apply_onnx),
])  # fmt: skip
def test_a_run_is_exported(
    digits: Path,
    format: str,
    name: str,
    apply: Callable[[Path, Tensor], Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = set(digits.glob("export*/*"))
    run("export", "--ckpt_path", digits / "checkpoints" / "last.ckpt", f"--format={format}")
    (path,) = set(digits.glob("export*/*")) - before
    assert path.name == name
    assert f"Exported LeNet to {path}" in caplog.text
    assert "[batch, 1, 8, 8]" in caplog.text
    image = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(apply(path, image), trained_network(digits)(image), rtol=1e-4, atol=1e-5)


def crowd_counter() -> nn.Module:
    backbone = AdResNet(None, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 4), small_images=True)
    return CrowdCounter(backbone, widths=(4, 4, 4), output_activation="softplus")


@pytest.mark.parametrize("network", [crowd_counter(), Restorer(width=2, inner_width=4, depth=1, residual=False)])
def test_images_of_any_size(network: nn.Module, tmp_path: Path) -> None:
    exported = export_network(network, tmp_path / "model.onnx", "onnx")
    assert exported.axes == ("batch", "3", "height", "width")
    assert 0 <= exported.difference <= 1e-4 * exported.largest
    image = torch.rand(2, 3, 35, 90)
    with torch.no_grad():
        wanted = network.eval()(image)
    torch.testing.assert_close(apply_onnx(tmp_path / "model.onnx", image), wanted, rtol=1e-4, atol=1e-5)


def test_standard_operators_on_request(tmp_path: Path) -> None:
    layer = ACDAConv2d(2, 2, 3, padding=1, hidden_channels=4)
    targets = {}
    for standard in (False, True):
        path = tmp_path / f"{standard}.pt2"
        export_network(layer, path, "torch_export", standard=standard)
        targets[standard] = {str(node.target).partition(".")[0] for node in torch.export.load(path).graph.nodes}
    assert "acda" in targets[False]
    assert "acda" not in targets[True]


class Branching(nn.Module):
    """Chooses by the data, which a program cannot."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Inverse(nn.Module):
    """Uses an operator that ONNX lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x[..., :4, :4] + 8 * torch.eye(4))


@pytest.mark.parametrize(("layer", "words"), [(Branching(), "1 (Branching)"), (Inverse(), "1 (Inverse)")])
def test_a_layer_that_cannot_be_exported_is_named(layer: nn.Module, words: str, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3), layer)
    with pytest.raises(UsageError) as refused:
        export_network(network, tmp_path / "out" / "model.onnx", "onnx")
    assert words in str(refused.value)
    assert not list(tmp_path.glob("out/*"))


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out" / "model.pt2"
    path.parent.mkdir()
    path.write_text("earlier")

    def write(network: nn.Module, program: object, file: Path) -> Callable[[Tensor], Tensor]:
        file.write_text("wrong")
        return lambda image: image * 1.001

    monkeypatch.setitem(export._WRITERS, "torch_export", write)
    with pytest.raises(UsageError, match="differs from the network by"):
        export_network(nn.Conv2d(1, 1, 1), path, "torch_export")
    assert [file.read_text() for file in path.parent.iterdir()] == ["earlier"]


def test_sizes_that_the_network_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"classifier.1 \(Linear\)(.|\n)*--image_size"):
        export_network(LeNet(image_size=32), tmp_path / "model.pt2", "torch_export", image_size=40)
    with pytest.raises(UsageError, match="--in_channels"):
        export_network(nn.Linear(3, 1), tmp_path / "model.pt2", "torch_export")


def test_what_is_told_before_anything_is_exported(
    digits: Path, trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line, *_) = refuse("export", "--ckpt_path", digits, "--format=tflite")
    assert "format" in line
    assert "torch_export" in line
    assert "onnx" in line
    assert "ckpt_path" in refuse("export", "--config", CONFIG)[0]
    assert "ToyTask" in refuse("export", "--ckpt_path", trained)[0]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install onnxscript" in refuse("export", "--ckpt_path", digits, "--format=onnx")[0]
