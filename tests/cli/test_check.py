"""``check``: what is wrong with data of each kind is listed, drawn, and told by the exit code."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.survey.thumbnails import MARK
from tests.cli.conftest import Refuse, run
from tests.support.crowd_files import turn_photograph
from tests.support.restoration_files import write_pairs

CONFIGS = Path(__file__).parents[2] / "configs"
IN_ONE_PROCESS = "--data.num_workers=0"
COUNTING = ("--data=PointsDataModule", "--data.images_dir=photos", IN_ONE_PROCESS)
POINTS = "--data.annotations=points.csv"
CLASSES = ("--data=LabelledImagesDataModule", "--data.images_dir=photos", IN_ONE_PROCESS)
PAIRS = ("--data=PairedFoldersDataModule", "--data.patch_size=24", IN_ONE_PROCESS)
FOLDERS = ("--data.degraded_dir=train/degraded", "--data.clean_dir=train/clean")
Rows = list[tuple[str, float, float]]


def write_photo(path: Path, seed: int, height: int = 40, width: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_points(count: int = 10, height: int = 40, width: int = 90, each: int = 6) -> Rows:
    """Photographs with points in them, far to the right, so that swapped ones lie outside; gives the points."""
    random = np.random.RandomState(0)
    rows = []
    for number in range(count):
        name = f"{number}.png"
        write_photo(Path("photos", name), number, height, width)
        xs, ys = random.uniform(0.6 * width, width - 1, each).round(2), random.uniform(1, height - 1, each).round(2)
        rows += [(name, float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
    return rows


def write_table(rows: Rows) -> None:
    Path("points.csv").write_text("image,x,y\n" + "".join(f"{name},{x},{y}\n" for name, x, y in rows))


def write_classes() -> None:
    for seed, name in enumerate(("cat/1", "cat/2", "cat/3", "cat/4", "dog/1", "dog/2", "dog/3", "dog/4")):
        write_photo(Path("photos", f"{name}.png"), seed)


def sections(text: str) -> list[tuple[str, list[str]]]:
    """Part what is printed into headings, and the indented lines below them."""
    parts: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("  "):
            parts[-1][1].append(line.strip())
        else:
            parts.append((line, []))
    return parts


def faults(capfd: pytest.CaptureFixture[str], *args: object) -> list[str]:
    """Check data that is wrong; gives the lines that say what is."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run("check", *args)
    said = capfd.readouterr()
    assert ended.value.code == 1
    assert said.out.startswith("split"), said
    found = [line for heading, lines in sections(said.out) for line in lines if heading.startswith("Wrong with ")]
    total = sum(int(line.split()[1]) if line.startswith("and ") else 1 for line in found)
    last = said.err.strip().splitlines()[-1]
    assert last.startswith(f"error: {total} thing")
    assert "Traceback" not in said.err
    assert list(Path("runs").rglob("check.png"))
    return found


def test_data_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    """The table's numbers, and mean and deviation, are those that the files say."""
    write_table(write_points())
    run("check", *COUNTING, POINTS, "--trainer.default_root_dir=runs/own")
    lines = capfd.readouterr().out.splitlines()
    cells = [line.split() for line in lines[1:4]]
    assert [cell[0] for cell in cells] == ["train", "val", "test"]
    assert sum(int(cell[1]) for cell in cells) == 10
    for cell in cells:
        assert cell[2:7] == ["90", "×", "40", "3", "8"]
        assert cell[7:] == ["6,", "6,", "6,", str(6 * int(cell[1])), "0"]
    train = [line for line in lines if line.startswith("Channels of train")]
    assert len(train) == 1
    assert lines[-1] == "Contact sheet: runs/own/check/check.png"
    assert not list(Path("runs").rglob("version_*"))


def test_channels_are_those_of_all_training_pixels(capfd: pytest.CaptureFixture[str]) -> None:
    write_classes()
    (Path("table.csv")).write_text(
        "image,label,split\n"
        + "".join(f"cat/{n},cat,{s}\ndog/{n},dog,{s}\n" for n, s in zip("1234", TRAIN, strict=True))
    )
    run("check", *CLASSES, "--data.annotations=table.csv")
    (line,) = (x for x in capfd.readouterr().out.splitlines() if x.startswith("Channels"))
    pixels = np.concatenate(
        [np.asarray(Image.open(f"photos/{x}.png")).reshape(-1, 3) for x in ("cat/1", "dog/1", "cat/2", "dog/2")]
    )
    mean, std = (
        [float(x) for x in part.strip("[] ").split(", ")] for part in line.partition("mean ")[2].split(", std ")
    )
    assert mean == pytest.approx((pixels / 255).mean(0), abs=6e-5)
    assert std == pytest.approx((pixels / 255).std(0), abs=6e-5)


TRAIN = ("train", "train", "val", "test")


def test_all_bits_and_channels_are_counted(capfd: pytest.CaptureFixture[str]) -> None:
    write_table(write_points())
    values = np.random.RandomState(0).randint(0, 65536, (10, 40, 90), np.uint16)
    for number, pixels in enumerate(values):
        Image.fromarray(pixels).save(f"photos/{number}.png")
    run("check", *COUNTING, POINTS, "--data.channels=1")
    lines = capfd.readouterr().out.splitlines()
    assert all(line.split()[2:7] == ["90", "×", "40", "1", "16"] for line in lines[1:4])
    (line,) = (line for line in lines if line.startswith("Channels"))
    mean, std = (float(part.strip("[] ")) for part in line.partition("mean ")[2].split(", std "))
    assert mean == pytest.approx(0.5, abs=0.01)
    assert std == pytest.approx(12**-0.5, abs=0.01)


def test_swapped_coordinates(capfd: pytest.CaptureFixture[str]) -> None:
    rows = write_points()
    write_table([(name, y, x) for name, x, y in rows])
    found = faults(capfd, *COUNTING, POINTS)
    assert len(found) == 11  # one for each image, and one for all
    assert all("They fit with x and y swapped: write x first" in line for line in found)
    assert sorted(line.partition("'photos/")[2][:5] for line in found[1:]) == [f"{n}.png" for n in range(10)]
    assert all(line.startswith("'points.csv', row ") for line in found[1:])


def test_single_points_outside_are_named_with_their_rows(capfd: pytest.CaptureFixture[str]) -> None:
    rows = write_points()
    rows[2] = ("0.png", 200.5, 3)
    rows[13] = ("2.png", 3, -40)
    write_table(rows)
    one, other = faults(capfd, *COUNTING, POINTS)
    assert one.startswith(
        "'points.csv', row 4: 1 of 6 points lie outside 'photos/0.png' (90 × 40), the first at 200.5, 3"
    )
    assert other.startswith(
        "'points.csv', row 15: 1 of 6 points lie outside 'photos/2.png' (90 × 40), the first at 3, -40"
    )


def test_few_points_outside_are_told_and_moved(capfd: pytest.CaptureFixture[str]) -> None:
    """As in published data: of so few there is no warning in training, and it is no fault here."""
    write_table([("4.png", 200.5, 3), *write_points()])
    run("check", *COUNTING, POINTS)
    told = dict(sections(capfd.readouterr().out))
    (line,) = told["Moved to the border (1):"]
    assert line.startswith(
        "'points.csv', row 2: 1 of 7 points lie outside 'photos/4.png' (90 × 40), the first at 200.5, 3"
    )


@pytest.mark.parametrize(("unit", "full"), [("fraction", 1), ("percent", 100)])
def test_other_units(unit: str, full: float, capfd: pytest.CaptureFixture[str]) -> None:
    rows = write_points()
    for number in range(10):
        Image.new("L", (500, 400), number).save(f"photos/{number}.png")
    rows = [(name, x * 500 / 90, y * 10) for name, x, y in rows]
    write_table([(name, full * x / 500, full * y / 400) for name, x, y in rows])
    (line,) = faults(capfd, *COUNTING, POINTS)
    assert unit in line
    assert "points.csv" in line


def test_annotations_of_another_reading_of_exif(capfd: pytest.CaptureFixture[str]) -> None:
    write_table(write_points())
    for number in range(10):
        turn_photograph(Path(f"photos/{number}.png"), 6)
    found = faults(capfd, *COUNTING, POINTS, "--data.exif=stored")
    assert len(found) == 12
    assert all("exif=shown" in line for line in found)


def test_images_that_cannot_be_read_and_repeat(capfd: pytest.CaptureFixture[str]) -> None:
    write_table(write_points(count=30))
    Path("photos/3.png").write_bytes(b"no image")
    content = Path("photos/5.png").read_bytes()
    Path("photos/5.png").write_bytes(content[: len(content) // 2])
    for number in range(8, 30):  # of which some are in each split
        shutil.copy("photos/7.png", f"photos/{number}.png")
    found = faults(capfd, *COUNTING, POINTS)
    assert {line[:14] for line in found if "cannot be read" in line} == {"'photos/3.png'", "'photos/5.png'"}
    pairs = [line for line in found if "have the same pixels" in line]
    assert pairs
    for line in pairs:
        names = [part for part in line.split("'") if part.startswith("photos/")]
        assert len({Path(name).read_bytes() for name in names}) == 1
        assert len(names) == 2


def test_empty_classes_and_images_that_cannot_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    write_classes()
    for number in range(5, 15):
        write_photo(Path(f"photos/dog/{number}.png"), 10 * number)
        write_photo(Path(f"photos/cat/{number}.png"), 10 * number + 1)
    for name in ("owl", "fox"):
        Path("photos", name).mkdir()
    Path("photos/cat/2.png").write_bytes(b"")
    found = faults(capfd, *CLASSES)
    assert len(found) == 3
    assert [line.split()[0] for line in found] == ["'photos/fox'", "'photos/owl'", "'photos/cat/2.png'"]


def test_long_lists_are_cut(capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        Path("photos/cat").mkdir(parents=True, exist_ok=True)
        Path(f"photos/cat/{number:02d}.png").write_bytes(b"no image")
        write_photo(Path(f"photos/dog/{number}.png"), number)
    found = faults(capfd, *CLASSES)
    assert len(found) == 22
    assert found[19].startswith("'photos/cat/")
    assert found[20:] == ["and 10 more", "'cat' has no images to train on"]


def write_folders() -> None:
    for seed, part in enumerate(("train", "val", "test")):
        write_pairs(Path(part), seed)


OTHERS = [f"--data.{part}_{side}_dir={part}/{side}" for part in ("val", "test") for side in ("degraded", "clean")]


def test_pairs_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    write_folders()
    run("check", *PAIRS, *FOLDERS, *OTHERS)
    lines = capfd.readouterr().out.splitlines()
    for line in lines[1:4]:
        split = line.split()[0]
        psnr = []
        for name in sorted(Path(split, "clean").iterdir()):
            one, other = (np.asarray(Image.open(path), float) for path in (name, Path(split, "degraded", name.name)))
            psnr.append(10 * np.log10(255**2 / np.square(one - other).mean()))
        assert line.endswith(f"{min(psnr):.2f}, {np.mean(psnr):.2f}, {max(psnr):.2f} dB")
    assert not list(Path().rglob("converted"))


def test_pairs_that_do_not_fit(capfd: pytest.CaptureFixture[str]) -> None:
    write_folders()
    write_photo(Path("train/clean/photo_1.png"), 0)
    turn_photograph(Path("train/clean/photo_2.png"), 6)
    write_photo(Path("val/clean/photo_1.png"), 0)
    shutil.copy("train/clean/photo_3.png", "train/degraded/photo_3.png")
    shutil.copy("train/clean/photo_4.png", "test/clean/photo_4.png")
    found = faults(capfd, *PAIRS, *FOLDERS, *OTHERS)
    for files, what in (
        (("train/degraded/photo_1.png", "train/clean/photo_1.png"), "pixels"),
        (("train/degraded/photo_2.png", "train/clean/photo_2.png"), "orientation"),
        (("val/degraded/photo_1.png", "val/clean/photo_1.png"), "pixels"),
        (("train/degraded/photo_3.png", "train/clean/photo_3.png"), "nothing to restore"),
        (("train/clean/photo_4.png", "test/clean/photo_4.png"), "same pixels"),
    ):
        (line,) = (line for line in found if all(file in line for file in files))
        assert what in line
    assert len(found) == 5


def test_a_folder_for_two_splits(capfd: pytest.CaptureFixture[str]) -> None:
    write_folders()
    found = faults(capfd, *PAIRS, *FOLDERS, *(x.replace("=val", "=train") for x in OTHERS))
    assert len(found) == 12  # six pairs
    assert all("is in train and in val" in line for line in found)


def test_what_stops_setup_is_told_in_one_line(refuse: Refuse) -> None:
    assert refuse("check", *COUNTING, POINTS, code=1) == [
        "error: images_dir='photos' does not exist. Name a folder that holds images (.png .jpg .jpeg .bmp .tif .tiff "
        ".webp)."
    ]
    assert not Path("runs").exists()


def test_positions_are_drawn_where_they_are() -> None:
    """A photograph as large as its picture: the mark's middle is the position's pixel."""
    Path("photos").mkdir()
    for number in range(8):
        Image.new("RGB", (300, 220), (10, 120, 20 + number)).save(f"photos/{number}.png")
    write_table([(f"{number}.png", 37.5, 180.5) for number in range(8)])
    run("check", *COUNTING, POINTS, "--output=sheet.png")
    sheet = np.asarray(Image.open("sheet.png")).astype(int)
    assert sheet.shape[2] == 3
    photo = (sheet[..., 0] == 10) & (sheet[..., 1] == 120)
    rows, columns = np.nonzero(photo)
    top, left = rows.min(), columns.min()
    marked = (sheet == MARK).all(2)[top : top + 220, left : left + 300]
    places = np.argwhere(marked)
    assert places.mean(0).tolist() == [180, 37]
    assert ((sheet == MARK).all(2)).sum() == 8 * marked.sum()
    assert not Path("runs").exists()


def test_a_picture_of_a_check_alone_is_replaced(refuse: Refuse) -> None:
    write_table(write_points())
    for _ in range(2):
        run("check", *COUNTING, POINTS)
    assert [path.name for path in Path("runs").rglob("*") if path.is_file()] == ["check.png"]
    for name in ("photos/0.png", "points.csv"):
        (line, *_) = refuse("check", *COUNTING, POINTS, f"--output={name}")
        assert line == f"error: '{name}' exists and is no picture of an earlier check: name another file with --output"
    assert Image.open("photos/0.png").size == (90, 40)


def test_two_processes_find_what_one_finds(capfd: pytest.CaptureFixture[str]) -> None:
    rows = write_points()
    write_table([("0.png", 200.5, 3), ("1.png", -9, 3), *rows])
    one = faults(capfd, *COUNTING, POINTS), Path("runs/check/check.png").read_bytes()
    two = faults(capfd, *COUNTING[:-1], POINTS, "--data.num_workers=2"), Path("runs/check/check.png").read_bytes()
    assert one == two


@pytest.mark.slow
def test_the_data_of_a_run(capfd: pytest.CaptureFixture[str]) -> None:
    """And of a configuration; its model is not built."""
    config = ("--config", CONFIGS / "toy/conv.yaml", "--trainer.accelerator=cpu", "--data.init_args.steps_per_epoch=1")
    run("fit", *config, "--trainer.max_epochs=1", "--trainer.default_root_dir=runs/toy")
    run("check", *config, "--model.init_args.network.init_args.kernel_size=0", "--trainer.default_root_dir=runs/toy")
    assert capfd.readouterr().out.splitlines()[-1] == "Contact sheet: runs/toy/check/check.png"
    run("check", "--ckpt_path=runs/toy/version_0")
    assert capfd.readouterr().out.splitlines()[-1] == "Contact sheet: runs/toy/version_0/check/check.png"


def test_other_data_says_what_it_lacks(refuse: Refuse) -> None:
    (line,) = refuse("check", "--config", "toy.yaml")
    assert line.startswith("error: ToyData cannot be checked: derive it from datamodules.ImageDataModule")
