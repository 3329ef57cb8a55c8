import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datamodules import DataError
from datamodules.classification.labelled_files import LabelledFiles, Paths
from datamodules.samples import collate
from datamodules.transforms.pixels import EightBit

DAMAGED = {1: b"", 2: b"not an image", 5: b"\xff\xd8\xff\xe0\x00\x10JFIF"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images whose colour is their number, three of them damaged: empty, no image, truncated."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(8):
        Image.new("RGB", (4, 4), (number,) * 3).save(folder / f"{number}.jpeg", quality=100)
    for number, content in DAMAGED.items():
        (folder / f"{number}.jpeg").write_bytes(content)
    return folder


def samples_in(folder: Path, max_corrupt: int | None, indices: range = range(8)) -> LabelledFiles:
    paths = Paths(f"{number}.jpeg" for number in range(8))
    return LabelledFiles(folder, paths, np.arange(8) * 10, np.array(indices), EightBit(), max_corrupt)


def message_of(loader: DataLoader) -> str:
    # Not pytest.raises: its traceback would keep the iterator until collection, which then takes five seconds.
    try:
        list(loader)
    except DataError as error:
        return str(error.with_traceback(None))
    return "no error"


def test_paths_are_a_list_of_texts() -> None:
    names = ["a/b.JPEG", "", "ü/é — 3.png", "a", "b\udcff"]
    paths = Paths(names)
    assert list(paths) == names
    assert (len(paths), paths[-1], paths[1:3]) == (5, "b\udcff", ["", "ü/é — 3.png"])
    assert list(pickle.loads(pickle.dumps(paths))) == names
    assert list(Paths([])) == []
    with pytest.raises(IndexError):
        paths[5]


def test_a_part_hands_out_its_images(folder: Path) -> None:
    part = samples_in(folder, None, indices=range(7, 2, -4))
    assert len(part) == 2
    batch = collate([part[0], part[1]])
    assert (batch.image.dtype, batch.image.shape) == (torch.uint8, (2, 3, 4, 4))
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert (batch.label.tolist(), batch.id) == ([70, 30], ["7.jpeg", "3.jpeg"])
    assert abs(batch.image.float() - torch.tensor([7, 3])[:, None, None, None]).max() <= 1


@pytest.mark.parametrize("number", DAMAGED)
def test_unreadable_image_is_an_error_where_none_may_be(folder: Path, number: int) -> None:
    with pytest.raises(DataError, match=rf"/{number}\.jpeg' cannot be read as an image: .*\. Replace or remove the"):
        samples_in(folder, None)[number]
    with pytest.raises(DataError, match=r"the file\. Or let training skip up to N such files: --data.*max_corrupt=N\."):
        samples_in(folder, 0)[number]


def test_missing_image_is_named(folder: Path) -> None:
    samples = LabelledFiles(folder, ["absent.png"], np.zeros(1, np.int64), np.arange(1), EightBit())
    with pytest.raises(DataError, match=r"absent\.png' cannot be read as an image: No such file or directory\."):
        samples[0]


def test_next_readable_image_takes_the_place(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = samples_in(folder, 3)
    for _ in range(2):  # each is named once
        assert [samples[index].id[0][0] for index in range(8)] == list("03334667")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    for message, name, count in zip(caplog.messages, "125", "123", strict=True):
        assert message.startswith(f"'{folder}/{name}.jpeg' cannot be read as an image: ")
        assert message.endswith(f" Skipped: number {count} of at most 3.")


def test_the_list_is_a_circle(folder: Path) -> None:
    assert samples_in(folder, 1, indices=range(3, 6))[2].id == ["3.jpeg"]


def test_no_readable_image_at_all(folder: Path) -> None:
    with pytest.raises(DataError, match=r"^None of the 2 images to train on in '.*' can be read\.$"):
        samples_in(folder, 5, indices=range(1, 3))[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_count_together(folder: Path, num_workers: int, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")  # workers inherit it
    logger = logging.getLogger("datamodules.classification.labelled_files")
    logger.addHandler(handler)
    try:
        loader = DataLoader(
            samples_in(folder, 3), collate_fn=collate, num_workers=num_workers, persistent_workers=num_workers > 0
        )
        for _ in range(2):
            assert [batch.id[0][0] for batch in loader] == list("03334667")
        del loader
        lines = (tmp_path / "log").read_text().splitlines()
        assert sorted(line.split("'")[1][-6:] for line in lines) == ["1.jpeg", "2.jpeg", "5.jpeg"]
        loader = DataLoader(samples_in(folder, 2), collate_fn=collate, num_workers=num_workers)
        message = message_of(loader)
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert message.startswith(f"'{folder}/")
    assert message.endswith(
        "Replace or remove the file. Training may skip 2 such files and this is number 3: allow more with "
        "--data.init_args.max_corrupt=N."
    )
