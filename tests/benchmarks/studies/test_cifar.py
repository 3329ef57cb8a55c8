from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import ROOT
from benchmarks.studies import cifar, study
from datamodules import CIFAR10DataModule
from tests.support.image_files import write_cifar10


def test_packed_images_are_the_published_ones(tmp_path: Path) -> None:
    """Read back from the file of arrays: the first of each split, with their labels and names."""
    write_cifar10(tmp_path / "published", per_file=20)
    cifar.pack(str(tmp_path / "published"), tmp_path / "some.npz", {"train": 50, "test": 10})
    cifar.unpack(tmp_path / "some.npz", tmp_path / "unpacked")
    every, some = (CIFAR10DataModule(str(tmp_path / name)) for name in ("published", "unpacked"))
    assert some.class_names == every.class_names
    for split, count in (("_published_train", 50), ("test", 10)):
        (images, labels), (all_images, all_labels) = (
            data._published_train if split != "test" else data._read(data._source.test_list) for data in (some, every)
        )
        assert len(images) == count
        assert np.array_equal(images, all_images[:count])
        assert np.array_equal(labels, all_labels[:count])


def test_what_is_packed_is_below_60_mb() -> None:
    assert sum(cifar._SIZES.values()) * 32 * 32 * 3 < 60e6


def test_trainings_read_the_unpacked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path)
    cifar.main(["--data-dir", str(tmp_path), "--pack", str(tmp_path / "some.npz")])
    called: list[list[study.Candidate]] = []

    def run(candidates: list[study.Candidate], options: object, further: list[str]) -> None:
        called.append(candidates)
        assert further == ["--trainer.precision=bf16-mixed"]
        folder = candidates[0].arguments[0].removeprefix("--data.init_args.data_dir=")
        assert CIFAR10DataModule(folder)._published_train[0].shape == (100, 32, 32, 3)

    monkeypatch.setattr(study, "run", run)
    arguments = ["--arrays", str(tmp_path / "some.npz"), "--epochs", "7", "--trainer.precision=bf16-mixed"]
    cifar.main(arguments)
    assert [candidate.facts["convolution"] for candidate in called[0]] == ["plain", "ACDA"]
    assert "--trainer.max_epochs=7" in called[0][0].arguments
    with pytest.raises(SystemExit, match="--arrays has images of cifar10, got --data cifar100"):
        cifar.main([*arguments, "--data", "cifar100"])
    with pytest.raises(SystemExit, match=r"--arrays must be a file that --pack wrote, got none\.npz"):
        cifar.main(["--arrays", "none.npz"])


def test_both_data_sets_with_both_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[str] = []
    monkeypatch.setattr(study, "run", lambda candidates, *_: configs.extend(tried.config for tried in candidates))
    cifar.main(["--data", "cifar10", "cifar100"])
    assert configs == [
        f"configs/{data}/{name}.yaml" for data in ("cifar10", "cifar100") for name in ("lenet", "lenet_acda")
    ]
    assert all((ROOT / config).is_file() for config in configs)
