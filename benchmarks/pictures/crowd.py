"""A rendered crowd, counted by the weights that come with the project."""

import tempfile
from collections.abc import Sequence

import torch
from torch import Tensor

from acda.models import pretrained
from acda.models.weight_files import find_pretrained, read_weight_file
from benchmarks.pictures.canvas import GREY, Canvas
from datamodules import SyntheticCrowdDataModule
from datamodules.batches import CrowdBatch
from lit_modules.metrics import count_heads
from lit_modules.output.pictures import draw_dots, draw_heat, draw_photograph, spread_cells
from lit_modules.tasks.counting import sum_cells

_WEIGHTS = "crowd_rendered"
_SCENE_SEED = 1  # the weights were trained on scenes of seed 0
_MAX_HEADS = 500  # as there
_PANEL, _GAP = 290, 14


def crowd(num_test: int = 40) -> Canvas:
    """Draw a crowd that was not trained on: annotated heads, and annotated and predicted density with their counts.

    Args:
        num_test: Scenes that errors are measured on; the one with the median count is shown.

    Returns:
        The picture, with the counts and the mean error of all test scenes.
    """
    network = pretrained(_WEIGHTS)
    density_scale = read_weight_file(find_pretrained(_WEIGHTS)).config["model"]["init_args"]["density_scale"]
    with tempfile.TemporaryDirectory() as folder:
        data = SyntheticCrowdDataModule(
            folder, num_train=1, num_test=num_test, max_heads=_MAX_HEADS, scene_seed=_SCENE_SEED, num_workers=0
        )
        data.setup("test")
        tests: list[CrowdBatch] = list(data.test_dataloader())
    with torch.no_grad():
        densities = [network(batch.image) / density_scale for batch in tests]
    return draw(tests, densities, f"pretrained:{_WEIGHTS}", "rendered scene", "scenes")


def draw(
    scenes: Sequence[CrowdBatch],
    densities: Sequence[Tensor],
    training: str,
    scene_name: str,
    plural: str,
    things: str = "heads",
) -> Canvas:
    """Draw the scene whose annotated count is the median one.

    Args:
        scenes: One image each.
        densities: What was predicted of each, in objects per cell.
        training: How the network was trained, for the text below.
        scene_name: What is shown.
        plural: What several of it are called.
        things: What is counted.
    """
    predicted = [float(count_heads(density)) for density in densities]
    annotated = [int(scene.num_heads) for scene in scenes]
    middle = sorted(range(len(scenes)), key=annotated.__getitem__)[len(scenes) // 2]
    scene, density = scenes[middle], densities[middle]
    size = scene.image.shape[2:]
    cell_size = _cell_size(scene.image, density)
    shown = draw_photograph(scene.image[0], size[0])
    maps = [
        spread_cells(values[0, 0], cell_size, size, shown) / cell_size**2
        for values in (sum_cells(scene.density, cell_size), density)
    ]
    top = max(float(values.max()) for values in maps)
    height = _PANEL * size[0] / size[1]
    canvas = Canvas(3 * (_PANEL + _GAP) - _GAP, round(height) + 96)
    titles = (f"{scene_name}, {things} annotated", f"density of the annotated {things}", "density predicted with ACDA")
    pictures = (draw_dots(shown, scene.points[0]), *(draw_heat(values, 0, top) for values in maps))
    texts = ("not trained on", f"{annotated[middle]} {things}", f"{predicted[middle]:.1f} {things}")
    for number, (title, picture, text) in enumerate(zip(titles, pictures, texts, strict=True)):
        left = number * (_PANEL + _GAP)
        canvas.text(left + _PANEL / 2, 6, title, 14, "ma")
        canvas.picture(left, 28, picture, _PANEL)
        canvas.text(left + _PANEL / 2, height + 33, text, 13.5, "ma")
    below = height + 64
    error = sum(abs(a - p) for a, p in zip(annotated, predicted, strict=True)) / len(scenes)
    mean = sum(annotated) / len(scenes)
    words = f"{training}; mean absolute error of {len(scenes)} such {plural}: "
    canvas.text(0, below + 4, f"{words}{error:.1f} {things}, of {mean:.0f} on average", 13)
    canvas.scale(canvas.width - 150, below, 150, lambda values: draw_heat(values, 0, top), (0, top))
    canvas.text(canvas.width - 158, below + 4, f"{things} per pixel", 12, "rm", GREY)
    return canvas


def _cell_size(image: Tensor, output: Tensor) -> int:
    """Compute the pixels of the image between neighbours in the output."""
    return -(-image.shape[2] // output.shape[2])
