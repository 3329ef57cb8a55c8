"""``export``: files that give what the network gives, and what is said where there can be none."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import acda
from acda import ACDAConv2d, models
from acda.models import AdResNet, CrowdCounter, LeNet, Restorer, pretrained
from lit_modules import export
from lit_modules.errors import UsageError
from lit_modules.export import export_network
from tests.cli.conftest import Refuse, run
from tests.support.networks import randomised
from tests.support.restoration_files import write_realsr, write_sidd

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "digits" / "lenet_acda.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run folder of LeNet + ACDA, after a few steps of training."""
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


TINY = {"plain_depths": (1, 1), "dynamic_depths": (1, 1), "widths": (4, 4, 4, 4)}
COMPARATORS = (
    *(acda.CondConv2d, acda.DynamicConv2d, acda.DDFConv2d, acda.Involution2d, acda.DeformConv2d),
    partial(acda.DynamicFilterConv2d, hidden_channels=4),
)


def comparators() -> nn.Module:
    """Each of them in a bottleneck of its own."""
    others = iter(COMPARATORS)
    return AdResNet(5, conv=lambda *args, **kwargs: next(others)(*args, **kwargs), **{**TINY, "dynamic_depths": (3, 3)})


def counter() -> nn.Module:
    return CrowdCounter(AdResNet(None, conv=nn.Conv2d, **TINY, small_images=True), 4, (4, 4, 4), "softplus")


def restorer() -> nn.Module:
    return Restorer(conv=nn.Conv2d, width=1, inner_width=4, depth=1)


def variational() -> nn.Module:
    return models.VariationalDenoiser(models.DNet(widths=(4, 4)), models.SNet(width=4, depth=2))


@pytest.mark.parametrize("make", [
    pytest.param(partial(AdResNet, 5, **TINY), id="AdResNet", marks=pytest.mark.slow),
    pytest.param(comparators, marks=pytest.mark.slow),
    pytest.param(counter, marks=pytest.mark.slow),
    pytest.param(restorer, marks=pytest.mark.slow),
    pytest.param(partial(models.LPKPN, 1, width=16, depth=1), id="LPKPN", marks=pytest.mark.slow),
    pytest.param(partial(models.VDSR, width=2, depth=3), id="VDSR"),
    pytest.param(partial(models.SRResNet, width=2, depth=1), id="SRResNet", marks=pytest.mark.slow),
    pytest.param(partial(models.DnCNN, width=2, depth=3), id="DnCNN"),
    pytest.param(variational, marks=pytest.mark.slow),
    pytest.param(partial(models.SingleLayer, ACDAConv2d), id="SingleLayer"),
])  # fmt: skip
def test_every_network_at_any_size(
    make: Callable[[], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both formats, from one trace: nothing takes longer."""
    torch.manual_seed(0)
    network = randomised(make()).float()
    trace, traced = export._trace, list[ExportedProgram]()

    def trace_once(*arguments: Any) -> ExportedProgram:
        if not traced:
            traced.append(trace(*arguments))
        return traced[0]

    monkeypatch.setattr(export, "_trace", trace_once)
    onnx, program = (export_network(network, tmp_path / name, name) for name in ("onnx", "torch_export"))
    assert onnx.axes == program.axes == ("batch", onnx.axes[1], "height", "width")
    for batch, height, width in ((1, 9, 12), (2, 35, 90)):
        image = torch.rand(batch, int(onnx.axes[1]), height, width)
        with torch.no_grad():
            wanted = network(image)
        assert wanted.std() > 0
        for got in (apply_onnx(tmp_path / "onnx", image), apply_torch_export(tmp_path / "torch_export", image)):
            assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()


PATCHES = ["--data.batch_size=1", "--data.patch_size=8", "--data.patches_per_image=1", "--data.num_workers=0"]
# One of each task, made small
TASKS = {
    "toy/conv": ["--data.steps_per_epoch=1"],
    "crowd/synthetic_conv2d": [
        *("--data.num_train=3", "--data.num_test=1", "--data.height=64", "--data.width=64", "--data.max_heads=3"),
        *("--data.val_fraction=0.4", "--data.batch_size=1", "--data.crop_size=32"),
        *("--model.network.backbone.widths=[2,2,2,2]", "--model.network.widths=[2,2,2]"),
    ],
    "realsr/vdsr": [*PATCHES, "--data.val_fraction=0.4", "--model.network.width=2", "--model.network.depth=2"],
    "sidd/vdn": [
        *(*PATCHES, "--data.val_fraction=0.4", "--data.block_size=32"),
        *("--model.network.denoiser.widths=[2]", "--model.network.noise_estimator.width=2"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", TASKS)
def test_every_task(experiment: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_realsr(tmp_path / "realsr", scales=(4,))
    write_sidd(tmp_path / "sidd")
    data = [] if experiment.startswith("toy") else [f"--data.data_dir={tmp_path / Path(experiment).parent}"]
    run("fit", "--config", CONFIGS / f"{experiment}.yaml", *TASKS[experiment], *data, "--trainer.accelerator=cpu",
        "--trainer.max_steps=1", "--trainer.limit_val_batches=0", f"--trainer.default_root_dir={tmp_path / 'runs'}",
        "--checkpoint.monitor=null")  # fmt: skip
    run("export", "--ckpt_path=last", f"--trainer.default_root_dir={tmp_path / 'runs'}", "--format=torch_export")
    assert f"image [batch, {1 if data == [] else 3}, height, width]" in caplog.text
    assert (tmp_path / "runs" / "version_0" / "export" / "model.pt2").is_file()


def test_the_weights_that_training_averaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run("fit", "--config", CONFIG, "--config", CONFIGS / "trainer" / "ema.yaml", "--trainer.accelerator=cpu",
        "--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1",
        f"--trainer.default_root_dir={tmp_path}")  # fmt: skip
    checkpoint = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    run("export", "--ckpt_path", checkpoint, f"--output={tmp_path / 'averaged.pt2'}")
    assert "moving averages" in caplog.text
    weights = torch.export.load(tmp_path / "averaged.pt2").state_dict
    name = "classifier.5.weight"
    torch.testing.assert_close(weights[name], content["state_dict"][f"network.{name}"])
    assert not torch.equal(weights[name], content["current_model_state"][f"network.{name}"])


def test_a_checkpoint_alone_from_another_machine(digits: Path, tmp_path: Path) -> None:
    """Trained on GPUs with batch norm synchronised between them, in half precision; copied without its folder."""
    content = torch.load(digits / "checkpoints" / "last.ckpt", weights_only=True)
    settings = {"accelerator: cpu": "accelerator: gpu", "sync_batchnorm: false": "sync_batchnorm: true"}
    settings |= {"precision: null": "precision: bf16-true", "strategy: auto": "strategy: ddp"}
    for old, new in settings.items():
        assert old in content["config"]
        content["config"] = content["config"].replace(old, new)
    weights = content["state_dict"]
    content["state_dict"] = {k: v.bfloat16() if v.is_floating_point() else v for k, v in weights.items()}
    Path("alone").mkdir()
    torch.save(content, "alone/copied.ckpt")
    run("export", "--ckpt_path", "alone/copied.ckpt", "--output=new/folder/model.pt2")
    image = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        wanted = trained_network(digits)(image)
    got = apply_torch_export(Path("new/folder/model.pt2"), image)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)  # 8 bits of the weights are left
    assert [path.name for path in Path("new/folder").iterdir()] == ["model.pt2"]


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


@pytest.mark.parametrize("seed", range(3))
def test_a_counter_counts_in_what_it_is_compared_on(seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        density = pretrained("crowd_rendered")(export.draw_images(2, 3, 96, 96))
    # heads of a pixel times density_scale; rounding of float32 is some 1e-5 in it
    assert density.amax((1, 2, 3)).min() > 0.1


def test_images_that_are_compared_on_have_their_size_and_spread() -> None:
    torch.manual_seed(0)
    images = export.draw_images(20, 3, 61, 100)
    assert images.shape == (20, 3, 61, 100)
    assert images.mean() == pytest.approx(0, abs=0.05)
    assert images.std() == pytest.approx((1 + 1 / 16) ** 0.5, abs=0.05)
    assert images[..., 1:].sub(images[..., :-1])[..., :7].std() == pytest.approx(2**0.5 / 4, rel=0.05), (
        "noise in a block"
    )


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_counter_that_comes_with_the_project_is_exported(threads: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        exported = export_network(pretrained("crowd_rendered"), tmp_path / "model.onnx", "onnx")
    finally:
        torch.set_num_threads(before)
    assert exported.largest > 1


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
