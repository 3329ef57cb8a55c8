"""Memory that restoring a large image takes, whole and in tiles.

``python -m benchmarks.speed.large_images --csv benchmarks/results/large_images.csv``

Peak memory beyond the image itself, and the time; the network is the restorer with ACDA, its weights are random.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from acda.analysis import receptive_halo
from acda.inference import apply_tiled
from acda.models import Restorer
from benchmarks import records
from benchmarks.speed import timing

_HEADINGS = {
    "megapixels": "megapixels",
    "tile": "tile",
    "extra_mib": "peak extra MiB",
    "output_mib": "of it the result",
    "s": "s",
}


def restore(image: Tensor, network: Restorer, tile: int) -> Tensor:
    """Restore an image, in tiles of this side in pixels, or whole if it is 0."""
    with torch.inference_mode():
        if tile == 0:
            output: Tensor = network(image)
            return output
        return apply_tiled(network, image, tile, receptive_halo(network, 3, 4), align=4)


def prepare(height: int, width: int, tile: int) -> tuple[timing.Run, timing.Run]:
    """Set up what to measure, and the same for a small image; for :func:`timing.peak_extra_mib`."""
    torch.manual_seed(0)
    network = Restorer().eval()
    image = torch.rand(1, 3, height, width)
    return lambda: restore(image, network, tile), lambda: restore(image[..., :64, :64], network, tile)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.large_images", __doc__)
    parser.add_argument("--height", type=int, default=3648, help="of the image in pixels (default 3648)")
    parser.add_argument("--width", type=int, default=5472, help="of the image in pixels (default 5472)")
    parser.add_argument("--tile", nargs="+", type=int, default=[512, 1024], help="sides; 0: whole (default: 512 1024)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    pixels = options.height * options.width
    rows: list[records.Row] = []
    for tile in options.tile:
        run, warm_up = prepare(options.height, options.width, tile)
        warm_up()
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
        row: records.Row = {"megapixels": pixels / 1e6, "tile": tile or "whole", "output_mib": 12 * pixels / 2**20}
        row["extra_mib"] = timing.peak_extra_mib(prepare, (options.height, options.width, tile), torch.device("cpu"))
        row["s"] = seconds
        rows.append(row)
    print(records.table(rows, _HEADINGS))
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
