import logging
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules import DataError
from datamodules.batches import ImageBatch
from datamodules.samples import ImageFolder, collate
from datamodules.transforms.pixels import Normalise, Resize
from tests.support.image_files import ImageFiles

to_tensor = Normalise([0, 0, 0], [1, 1, 1])


def test_ids_are_sorted_relative_paths(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(folder, to_tensor)
    assert [samples[index].id for index in range(len(samples))] == [[name] for name in sorted(expected)]


def test_images_of_any_size_become_tensors(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(str(folder), to_tensor)
    for index, name in enumerate(sorted(expected)):
        batch = samples[index]
        height, width, _ = expected[name].shape
        assert isinstance(batch, ImageBatch)
        assert (batch.image.dtype, batch.image.shape) == (torch.float32, (1, 3, height, width))
        assert 0 <= batch.image.min() <= batch.image.max() <= 1


def test_other_files_are_counted_in_one_log_line(odd_images: ImageFiles, caplog: pytest.LogCaptureFixture) -> None:
    folder, expected = odd_images
    with caplog.at_level(logging.INFO, logger="datamodules"):
        ImageFolder(folder, to_tensor)
    assert caplog.messages == [f"predict_dir='{folder}': {len(expected)} images, 3 other files left out"]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^predict_dir='.*/absent' does not exist\. Name a folder .*\.png \.jpg"):
        ImageFolder(tmp_path / "absent", to_tensor)


def test_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.png").touch()
    with pytest.raises(DataError, match=r"^images='.*/file\.png' is not a folder"):
        ImageFolder(tmp_path / "file.png", to_tensor, argument="images")


def test_folder_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"^predict_dir='.*' holds no images: none of the 1 files .* \.png \.jpg"):
        ImageFolder(tmp_path, to_tensor)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_damaged_image_is_named_without_a_traceback(tmp_path: Path, num_workers: int) -> None:
    (tmp_path / "damaged.png").write_bytes(b"no image")
    loader = DataLoader(ImageFolder(tmp_path, to_tensor), collate_fn=collate, num_workers=num_workers)
    path = tmp_path / "damaged.png"
    # Not pytest.raises: its traceback would keep the iterator until collection, which then takes five seconds.
    message = "no error"
    try:
        next(iter(loader))
    except DataError as error:
        message = str(error.with_traceback(None))
    assert message == (
        f"'{path}' cannot be read as an image: its format is none that is known. Replace or remove the file."
    )


def test_images_of_different_sizes_form_a_batch_once_resized(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(folder, Normalise([0], [1], after=Resize(6, 5)), grey=True)
    batch = next(iter(DataLoader(samples, batch_size=len(samples), collate_fn=collate)))
    assert batch.image.shape == (len(expected), 1, 6, 5)
    assert batch.id == sorted(expected)
