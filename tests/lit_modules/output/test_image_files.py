from pathlib import Path

from lit_modules.output import png_path


def test_no_two_images_share_a_file() -> None:
    names = ["a.png", "a.jpg", "a.jpg.png", "a.jpg.png.png", "a.png.png", "a.png.jpg", "b/a.png", "a.b.png"]
    assert len({png_path(Path("folder"), name) for name in names}) == len(names)
