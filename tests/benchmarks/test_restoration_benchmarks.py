"""The benchmarks of restoration on small images."""

from functools import partial
from pathlib import Path

import pytest
import torch

from acda import ACDAConv2d
from acda.models import KPN, Restorer, SNet, VariationalDenoiser
from benchmarks.loading import patches as patch_loading
from benchmarks.speed import large_images
from benchmarks.studies.matching import network_in, parameters
from benchmarks.studies.restoration import TASKS, candidate, main, networks
from tests.benchmarks import rows_of
from tests.support.restoration_files import write_realsr, write_sidd


@pytest.mark.parametrize("task", TASKS)
def test_networks_that_are_compared_have_about_as_many_parameters(task: str) -> None:
    counts = {name: candidate(task, name).facts["parameters"] for name in networks(task)}
    small = partial(Restorer, conv=partial(ACDAConv2d, norm=None), inner_width=64, depth=4)
    assert counts["ACDA"] == parameters(small)
    variational = counts.pop("variational ACDA", None)
    assert list(counts.values()) == pytest.approx([counts["ACDA"]] * 3, rel=0.05)
    if TASKS[task].recipe == "denoising":
        restorer = partial(small, out_channels=6, residual=False)
        assert variational == parameters(lambda: VariationalDenoiser(restorer(), SNet()))
    else:
        assert variational is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name", "scale"),
    [("city100_nikon", "KPN", 3), ("polyu", "KPN", None), ("polyu", "variational ACDA", None)],
)
def test_other_data_is_trained_on_and_tested_with(tmp_path: Path, task: str, name: str, scale: int | None) -> None:
    if scale is None:
        write_sidd(tmp_path / task, seed=0)
        small = ["--data.init_args.block_size=32", "--data.init_args.val_fraction=0.25"]
    else:
        write_realsr(tmp_path / task, seed=0, scales=(scale,))
        small = ["--data.init_args.val_fraction=0.2"]
    small += [
        "--data.init_args.patch_size=24",
        "--data.init_args.patches_per_image=2",
        "--data.init_args.num_workers=0",
    ]
    arguments = [
        "--seeds=1",
        "--task",
        task,
        "--only",
        name,
        "--data-dir",
        str(tmp_path),
        f"--csv={tmp_path / 'rows.csv'}",
    ]
    main([*arguments, *small, "--trainer.max_epochs=1"])
    (row,) = rows_of(tmp_path / "rows.csv")
    assert row["task"] == task
    assert all(float(row[f"test/{metric}"]) > 0 for metric in TASKS[task].metrics)


def test_network_of_an_experiment_is_built_as_it_says() -> None:
    network = network_in("configs/sample_photos/super_resolution_kpn.yaml")
    assert isinstance(network, KPN)
    assert len(network.body) == 29 + 1


def test_patches_are_the_same_however_they_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    small = ["--height=96", "--width=128", "--patch=32", "--rounds=2", "--decoded=2", "--converted=8"]
    threads = torch.get_num_threads()
    patch_loading.main([*small, f"--csv={path}"])
    assert torch.get_num_threads() == threads
    decoded, converted = rows_of(path)
    assert [row["status"] for row in (decoded, converted)] == ["ok", "ok"]
    for row in (decoded, converted):
        assert float(row["patches_per_s"]) == pytest.approx(1e3 * int(row["patches"]) / float(row["draw_ms"]), rel=1e-6)
    ratio = float(converted["patches_per_s"]) / float(decoded["patches_per_s"])
    assert float(converted["faster"]) == pytest.approx(ratio, rel=1e-6)
    assert "patches/s" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_of_tiles_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    large_images.main(["--height=128", "--width=192", "--tile", "0", "32", f"--csv={path}"])
    whole, tiled = rows_of(path)
    assert (whole["tile"], tiled["tile"]) == ("whole", "32")
    assert float(whole["output_mib"]) == pytest.approx(128 * 192 * 3 * 4 / 2**20)
    assert float(whole["extra_mib"]) >= float(whole["output_mib"])


def test_tiles_of_the_benchmark_give_the_whole() -> None:
    torch.manual_seed(0)
    network = Restorer(inner_width=8, depth=1).eval()
    network.tail[-1].weight.data.normal_()
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(large_images.restore(image, network, 32), large_images.restore(image, network, 0))
