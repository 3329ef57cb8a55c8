"""A page that shows what was predicted, for whoever opens the folder."""

import os
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lit_modules.output.output_folder import gather, output_folder
from lit_modules.output.page_html import Entry, Picture, make_page
from lit_modules.output.whole_file import whole_file

NUM_SHOWN = 1000
"""Inputs that a page shows by default."""
SIDE = 480
"""Width and height in pixels that a small picture fits into."""
_QUALITY = 88
_TABLES = (("inputs that failed", "failed.csv"), ("files with other names", "renamed.csv"))


class PredictionPage:
    """Collects what a prediction has to show, and writes ``index.html`` when it ends.

    Small pictures are in ``thumbnails``, written while prediction runs; the page itself appears whole or not at all. It
    needs no network and no script, its addresses are relative, so that the folder can be moved.

    Args:
        trainer: The running trainer; all processes make one together.
        title: What the page is about.
        num_shown: The first so many inputs are shown; of others the page says how many there are. 0: no page.

    Attributes:
        path: The page.
    """

    def __init__(self, trainer: Trainer, title: str, num_shown: int) -> None:
        self.path = output_folder(trainer) / "index.html"
        self._trainer = trainer
        self._title = title
        self._num_shown = num_shown
        self._entries: dict[str, Entry] = {}
        self._left_out = 0

    def takes(self, name: str) -> bool:
        """Tell whether there is room for an input, and count it if there is not."""
        if len(self._entries) < self._num_shown or name in self._entries:
            return True
        self._left_out += 1
        return False

    def add(self, entry: Entry) -> None:
        """Add what is to be shown of an input, in this process."""
        self._entries[entry.id] = entry

    def draw(self, name: str, title: str, picture: Tensor) -> Picture:
        """Write a small picture.

        Args:
            name: The input's id.
            title: What it shows; one of its own for each picture of an input.
            picture: RGB, uint8 ``[3, H, W]``; reduced to fit into ``SIDE``.

        Returns:
            The picture, for an :class:`Entry`.
        """
        image = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        digest = sha256(os.fsencode(f"{name}\0{title}")).hexdigest()[:20]
        path = self.path.parent / "thumbnails" / f"{digest}.jpg"
        content = BytesIO()
        image.save(content, "JPEG", quality=_QUALITY)
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content.getbuffer())
        return Picture(self.relative(path), *image.size, title)

    def relative(self, path: Path) -> str:
        """Give the path of a result's file as it is seen from the page."""
        return path.relative_to(self.path.parent).as_posix()

    def finish(self, notes: Sequence[str] = (), links: Sequence[tuple[str, Path]] = ()) -> None:
        """Write the page; all processes do so together.

        Args:
            notes: Sentences on all inputs.
            links: Text and file of what concerns all inputs.
        """
        parts = gather(self._trainer, (self._entries, self._left_out))
        entries = {name: entry for part, _ in parts for name, entry in part.items()}
        if not self._num_shown or not self._trainer.is_global_zero:
            return
        shown = [entries[name] for name in sorted(entries)][: self._num_shown]
        total = len(entries) + sum(left_out for _, left_out in parts)
        count = (
            ("1 input" if total == 1 else f"{total} inputs")
            if len(shown) == total
            else f"The first {len(shown)} of {total} inputs"
        )
        tables = [(text, self.path.with_name(name)) for text, name in _TABLES]
        files = [*links, *((text, path) for text, path in tables if path.is_file())]
        addresses = [(f"{path.name}: {text}", self.relative(path)) for text, path in files]
        page = make_page(self._title, shown, [f"{count}.", *notes], addresses)
        with whole_file(self.path) as unfinished:
            unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")
        rank_zero_info(f"To look at them: {self.path}")


def reduce_image(image: Tensor, side: int = SIDE) -> Tensor:
    """Reduce an image, before anything else is done with all of its pixels.

    Args:
        image: ``[C, H, W]``, any range.
        side: Width and height in pixels that the result fits into.

    Returns:
        ``[C, h, w]`` on the CPU; the image itself if it is no larger.
    """
    height, width = image.shape[1:]
    factor = side / max(height, width)
    if factor >= 1:
        return image.detach().float().cpu()
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return F.interpolate(image.detach()[None].float(), size=size, mode="bilinear", antialias=True)[0].cpu()
