"""Examples of one's own data."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from benchmarks.studies import examples
from datamodules import PairedFoldersDataModule, PointsDataModule
from datamodules.restoration.degradations import to_bytes
from datamodules.restoration.sample_photo_files import read_photograph


def test_every_mark_is_on_a_stained_cell() -> None:
    pixels, centres = examples.draw_cells(seed=3)
    red, green, blue = pixels.astype(float).transpose(2, 0, 1)
    purple = ndimage.gaussian_filter(red + blue - 2 * green, 1)
    at_centres = purple[tuple(centres.astype(int).T[::-1])]
    assert 15 <= len(centres) <= 90
    assert at_centres.min() > np.quantile(purple, 0.75)
    assert pixels.shape == (256, 256, 3)


def test_cells_are_read_as_written(tmp_path: Path) -> None:
    examples.write_cells(tmp_path, count=6)
    data = PointsDataModule(str(tmp_path / "images"), annotations=str(tmp_path / "points.csv"), num_workers=0)
    data.setup("test")
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    for batch in data.test_dataloader():
        (name,) = batch.id
        assert batch.num_heads.item() == sum(row["image"] == name for row in rows)


def test_pairs_differ_by_noise_alone(tmp_path: Path) -> None:
    examples.write_pairs(tmp_path, count=17)
    names = sorted(path.name for path in (tmp_path / "noisy").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert len(names) == 17
    for name in names:
        noisy, clean = (cv2.imread(str(tmp_path / kind / name)).astype(float) for kind in ("noisy", "clean"))
        psnr = 10 * np.log10(255**2 / ((noisy - clean) ** 2).mean())
        assert 20 < psnr < 36, name
    folders = {f"{kind}_dir": str(tmp_path / folder) for kind, folder in (("degraded", "noisy"), ("clean", "clean"))}
    data = PairedFoldersDataModule(**folders, scene="{scene}_*", num_workers=0, cache_dir=str(tmp_path / "cache"))
    data.setup("test")
    assert len(data.test_dataloader()) > 0


def test_a_wrong_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        examples.main(["cars", str(tmp_path)])
    assert "'cells', 'pairs', 'photographs'" in capsys.readouterr().err


def test_whole_photographs_have_noise(tmp_path: Path) -> None:
    examples.main(["photographs", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chelsea.png", "china.png", "coffee.png"]
    for path, name in ((tmp_path / "chelsea.png", "chelsea.png"), (tmp_path / "china.png", "china.jpg")):
        noisy, clean = cv2.imread(str(path)).astype(float), to_bytes(read_photograph(name))[..., ::-1].astype(float)
        assert 20 < 10 * np.log10(255**2 / ((noisy - clean) ** 2).mean()) < 36
