"""ImageNet from object storage, by litdata: images lie in chunks of some dozens of megabytes, read in turn."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from datamodules.batches import LabelledBatch
from datamodules.classification.imagenet_batches import ImageNetBatches
from datamodules.errors import DataError, check_at_least
from datamodules.files.optional import import_package
from datamodules.files.readers import decode_image
from datamodules.samples import SampleSet, StoredSample, batch_of_one
from datamodules.transforms.pixels import EightBit
from datamodules.types import Pixels


class StreamingImageNetDataModule(ImageNetBatches):
    """ImageNet, or one's own images in the same form, written by ``imagenet_chunks`` and read by litdata.

    Splits, augmentation, batches and prediction are those of ``ImageNetDataModule`` without ``val_fraction``:
    ``val`` serves as validation and as test. What differs follows from reading chunks:

    - The order of training images is shuffled within and between chunks, by ``shuffle_seed`` and the epoch. Each
      device gets equally many whole batches; what is left over in an epoch is left out.
    - Augmentations follow from the seed for one number of workers, but a resumed run draws others. The order of
      evaluation depends on the number of workers.
    - Unreadable images are errors; none is skipped.

    Source: https://github.com/Lightning-AI/litData.

    Args:
        url: Folder, or place in object storage (``s3://…``, ``gs://…``), that holds ``train``, ``val``, ``classes``.
            Default: ``"data/imagenet_chunks"``.
        cache_dir: Folder for chunks that were fetched. Default: litdata's choice.
        shuffle_seed: What the order of training images depends on. Default: 0.
        **kwargs: Those of :class:`~datamodules.classification.imagenet_batches.ImageNetBatches`.

    Raises:
        ValueError: If an argument is out of range; from ``setup``, if the devices cannot share ``total_batch_size``.
        DataError: From ``setup``, if litdata or the data is missing; from loaders, if an image cannot be read.
    """

    def __init__(
        self,
        url: str = "data/imagenet_chunks",
        *,
        cache_dir: str | None = None,
        shuffle_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(0, shuffle_seed=shuffle_seed)
        self.url = url
        self.cache_dir = cache_dir
        self._shuffle_seed = shuffle_seed

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes by index, as they were when the data was converted."""
        names: list[str] = self._stream("classes", None)[0]
        return names

    def train_samples(self) -> Any:
        """Return training images, augmented."""
        return self._stream("train", _Reader(self.trained), shuffle=True, seed=self._shuffle_seed, drop_last=True)

    def val_samples(self) -> Any:
        """Return validation images."""
        return self._stream("val", _Reader(self.evaluated), drop_last=False)

    test_samples = val_samples

    def stored_samples(self, split: str) -> SampleSet[LabelledBatch]:
        """Return the images of a split as they lie in chunks."""
        return _Stored(self._stream("train", None), self.url) if split == "train" else self._stored_val

    @cached_property
    def _stored_val(self) -> SampleSet[LabelledBatch]:
        return _Stored(self._stream("val", None), self.url)

    def train_dataloader(self) -> Any:
        """Return shuffled, augmented batches of the training images."""
        return self._streamed("train")

    def _in_order(self, split: str) -> Any:
        return super()._in_order(split) if split == "predict" else self._streamed(split)

    def _streamed(self, split: str) -> Any:
        return import_package("litdata", "Streaming").StreamingDataLoader(self._samples(split), **self._loading)

    def _stream(self, name: str, transform: Callable[[Mapping[str, Any]], LabelledBatch] | None, **options: Any) -> Any:
        litdata = import_package("litdata", "Streaming")
        place = f"{self.url.rstrip('/')}/{name}"
        try:
            return litdata.StreamingDataset(place, cache_dir=self.cache_dir, transform=transform, **options)
        except (ValueError, OSError, RuntimeError) as error:
            raise DataError(
                f"url='{self.url}' cannot be read ({str(error).rstrip('.')}). Name the folder, or the place in object "
                "storage, that python -m datamodules.classification.imagenet_chunks has written: "
                "--data.init_args.url=URL."
            ) from error


class _Reader:
    """From what is stored to a batch of one."""

    def __init__(self, transform: Callable[[Pixels], Tensor]) -> None:
        self._transform = transform

    def __call__(self, stored: Mapping[str, Any]) -> LabelledBatch:
        image = self._transform(decode_image(bytes(stored["image"]), stored["id"]))
        return LabelledBatch(batch_of_one(image), torch.tensor([stored["label"]]), [stored["id"]])


class _Stored(SampleSet[LabelledBatch]):
    """Images as they lie in chunks, found by their index."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream = stream
        self._url = url.rstrip("/")
        self._read = _Reader(EightBit())

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, index: int) -> LabelledBatch:
        return self._read(self._stream[index])

    def stored(self, index: int) -> StoredSample:
        stored = self._stream[index]
        name = f"{self._url}/{stored['id']}"
        return StoredSample((name,), lambda: (decode_image(bytes(stored["image"]), name),), label=int(stored["label"]))
