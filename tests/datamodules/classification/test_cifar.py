import functools
import hashlib
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from datamodules import CIFAR10DataModule, CIFAR100DataModule, DataError
from datamodules.batches import ImageBatch, LabelledBatch
from datamodules.samples import LabelledArrays, collate
from tests.support.image_files import ImageFiles, write_cifar10, write_cifar100, write_python2_pickle


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """A CIFAR-10 of its own, to be damaged."""
    return write_cifar10(tmp_path)


def setup(root: Path, stage: str = "fit") -> None:
    CIFAR10DataModule(str(root), num_workers=0).setup(stage)


def read(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {key.decode(): value for key, value in pickle.load(stream, encoding="bytes").items()}


@pytest.mark.parametrize(
    ("module", "val_fraction", "sizes"),
    [(CIFAR10DataModule, 0.1, (90, 10, 20)), (CIFAR100DataModule, 0.5, (100, 100, 100))],
)
def test_splits(cifar_root: Path, module: type[CIFAR10DataModule], val_fraction: float, sizes: list[int]) -> None:
    data = module(str(cifar_root), num_workers=0, batch_size=16, val_fraction=val_fraction, augment=False)
    parts = [
        collate(list(loader)) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    ]
    assert [len(part.id) for part in parts] == list(sizes)
    published = sizes[0] + sizes[1]
    assert sorted(parts[0].id + parts[1].id) == [f"train_{index:05d}" for index in range(published)]
    assert parts[2].id == [f"test_{index:05d}" for index in range(sizes[2])]
    counts = parts[1].label.bincount()
    assert counts.min() == counts.max()  # each class is held out alike
    assert len(counts) == len(data.class_names)


def test_batches_have_the_documented_shapes(cifar_root: Path) -> None:
    batch = next(iter(CIFAR10DataModule(str(cifar_root), batch_size=5, num_workers=2).train_dataloader()))
    assert isinstance(batch, LabelledBatch)
    assert (batch.image.shape, batch.image.dtype) == ((5, 3, 32, 32), torch.float32)
    assert (batch.label.shape, batch.label.dtype, len(batch.id)) == ((5,), torch.int64, 5)


def test_images_and_labels_are_those_of_the_files(cifar_root: Path) -> None:
    data = CIFAR100DataModule(str(cifar_root), num_workers=0)
    batch = collate(list(data.test_dataloader()))
    content = read(cifar_root / "cifar-100-python" / "test")
    pixels = batch.image * torch.tensor(data._std)[:, None, None] + torch.tensor(data._mean)[:, None, None]
    np.testing.assert_allclose(pixels.flatten(1) * 255, content["data"], atol=1e-3)
    assert batch.label.tolist() == content["fine_labels"]


def test_class_names_are_the_published_ones(cifar_root: Path) -> None:
    assert CIFAR10DataModule(str(cifar_root)).class_names[:3] == ["airplane", "automobile", "bird"]
    assert CIFAR100DataModule(str(cifar_root)).class_names[99] == "class_99"


def test_split_depends_on_its_seed_alone(cifar_root: Path) -> None:
    def held_out(seed: int, split_seed: int) -> LabelledArrays:
        torch.manual_seed(seed)
        return CIFAR10DataModule(str(cifar_root), num_workers=0, split_seed=split_seed).val_dataloader().dataset

    ids = [[held[index].id for index in range(10)] for held in (held_out(0, 0), held_out(1, 0), held_out(0, 1))]
    assert ids[0] == ids[1] != ids[2]


def test_only_training_images_are_augmented(cifar_root: Path) -> None:
    def twice(samples: LabelledArrays) -> bool:
        return torch.equal(samples[0].image, samples[0].image)

    torch.manual_seed(0)
    data = CIFAR10DataModule(str(cifar_root))
    assert [twice(samples) for samples in (data.train_samples(), data.val_samples(), data.test_samples())] == [
        False,
        True,
        True,
    ]
    assert twice(CIFAR10DataModule(str(cifar_root), augment=False).train_samples())


def test_predicted_images_are_resized(cifar_root: Path, odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    data = CIFAR10DataModule(str(cifar_root), num_workers=0, predict_dir=str(folder))
    batch = collate(list(data.predict_dataloader()))
    assert isinstance(batch, ImageBatch)
    assert batch.image.shape == (len(expected), 3, 32, 32)
    one_pixel = batch.image[batch.id.index("one_pixel.png")]
    reference = (torch.tensor([9, 8, 7]) / 255 - torch.tensor(data._mean)) / torch.tensor(data._std)
    torch.testing.assert_close(one_pixel, reference[:, None, None].expand(3, 32, 32))


def test_files_of_python_3_are_read_too(cifar10: Path) -> None:
    for file in cifar10.iterdir():
        file.write_bytes(pickle.dumps(read(file)))
    setup(cifar10.parent)
    setup(cifar10.parent, "test")
    assert CIFAR10DataModule(str(cifar10.parent)).class_names[9] == "truck"


def test_missing_folder_names_argument_place_files_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        setup(tmp_path)
    assert str(caught.value) == (
        f"data_dir='{tmp_path}' lacks files of CIFAR10: no data_batch_1, data_batch_2, data_batch_3, data_batch_4, "
        f"data_batch_5, test_batch, batches.meta in '{tmp_path}/cifar-10-batches-py'. Download them with "
        "--data.init_args.download=true, or name the folder that holds cifar-10-batches-py/."
    )


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_missing_file_is_named(cifar10: Path, name: str) -> None:
    (cifar10 / name).unlink()
    with pytest.raises(DataError, match=f"lacks files of CIFAR10: no {name} in"):
        setup(cifar10.parent)


@pytest.mark.parametrize("name", ["data_batch_5", "batches.meta"])
@pytest.mark.parametrize("kept", [0, 20, -10])
def test_truncated_file_is_named(cifar10: Path, name: str, kept: int) -> None:
    (cifar10 / name).write_bytes((cifar10 / name).read_bytes()[:kept])
    remedy = r"Delete the file and download it again: --data\.init_args\.download=true\."
    with pytest.raises(DataError, match=rf"/{name}' is damaged: it cannot be read \(.+\)\. {remedy}$"):
        setup(cifar10.parent)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("test_batch", {"data": None}, "it has no 'data'"),
        ("test_batch", {"labels": None}, "it has no 'labels'"),
        ("test_batch", {"data": [1, 2]}, r"'data' is list instead of uint8 \[n, 3072\]"),
        ("test_batch", {"data": np.zeros((20, 3072))}, r"'data' is float64 \[20, 3072\] instead of uint8"),
        ("test_batch", {"data": np.zeros((20, 1024), np.uint8)}, r"'data' is uint8 \[20, 1024\] instead of"),
        ("test_batch", {"labels": [0] * 19}, "'labels' is 19 entries instead of a list of one label for each of 20"),
        ("test_batch", {"labels": 3}, "'labels' is int instead of a list"),
        ("test_batch", {"labels": [0] * 19 + [10]}, "'labels' has entries other than the integers 0 to 9"),
        ("test_batch", {"labels": [0.5] * 20}, "'labels' has entries other than the integers 0 to 9"),
        ("batches.meta", {"label_names": None}, "it has no 'label_names'"),
        ("batches.meta", {"label_names": ["one"]}, "'label_names' is not a list of 10 names"),
    ],
)
def test_wrong_content_is_named(cifar10: Path, name: str, change: dict[str, Any], message: str) -> None:
    content = {key: value for key, value in (read(cifar10 / name) | change).items() if value is not None}
    write_python2_pickle(cifar10 / name, content)
    with pytest.raises(DataError, match=f"/{name}' is damaged: {message}.*Delete the file and download it again"):
        setup(cifar10.parent, "test")


def test_pickle_of_something_else_is_named(cifar10: Path) -> None:
    (cifar10 / "test_batch").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="/test_batch' is damaged: it holds list instead of a dictionary"):
        setup(cifar10.parent, "test")


def test_pickle_cannot_run_programs(cifar10: Path, tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    (cifar10 / "test_batch").write_bytes(pickle.dumps({"data": Program()}))
    with pytest.raises(DataError, match=r"/test_batch' is damaged: it cannot be read \(it refers to posix\.mkdir\)"):
        setup(cifar10.parent, "test")
    assert not (tmp_path / "made").exists()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """CIFAR-100's archive, published by a server on this machine; returns its path."""
    archive = tmp_path / "published.tar.gz"
    folder = write_cifar100(tmp_path / "published")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(datasets.CIFAR100, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
        yield archive
        server.shutdown()


def test_download_brings_what_is_missing(tmp_path: Path, published: Path) -> None:
    data = CIFAR100DataModule(str(tmp_path / "data"), download=True, num_workers=0, val_fraction=0.5)
    for name in ("train", "meta"):
        data.prepare_data()
        data.setup("fit")
        (tmp_path / "data" / "cifar-100-python" / name).unlink()
    data.prepare_data()
    assert len(CIFAR100DataModule(str(tmp_path / "data")).class_names) == 100


def test_nothing_is_downloaded_unless_asked_for_and_missing(tmp_path: Path, published: Path) -> None:
    published.unlink()
    CIFAR100DataModule(str(tmp_path / "data")).prepare_data()
    assert not (tmp_path / "data").exists()
    CIFAR100DataModule(str(tmp_path / "published"), download=True).prepare_data()
    assert not (tmp_path / "published" / "cifar-100-python.tar.gz").exists()


def test_failed_download_is_explained(tmp_path: Path, published: Path) -> None:
    published.unlink()
    data = CIFAR100DataModule(str(tmp_path / "data"), download=True)
    message = r"^data_dir='.*/data': downloading http://.* failed \(.*404.*\)\. Try again, or extract"
    with pytest.raises(DataError, match=message):
        data.prepare_data()


def test_fraction_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"^val_fraction must be above 0 and below 1, got 0$"):
        CIFAR10DataModule(val_fraction=0)
