import pytest

from datamodules import DataError
from datamodules.restoration.own.names import check_pattern, find_scenes, name_files


@pytest.mark.parametrize(
    ("pattern", "files", "names"),
    [
        ("{name}", ["a.png", "sub/b.c.tif"], {"a": "a.png", "sub/b.c": "sub/b.c.tif"}),
        ("{name}x4", ["0801x4.png", "0802x2.png", "d/0803x4.PNG"], {"0801": "0801x4.png", "d/0803": "d/0803x4.PNG"}),
        ("noisy/{name}", ["noisy/a.png", "clean/a.png"], {"a": "noisy/a.png"}),
        ("{name}_*", ["a_1.png", "b_c_2.png"], {"a": "a_1.png", "b": "b_c_2.png"}),
        ("*_{name}", ["x_a.png", "y.png"], {"a": "x_a.png"}),
        ("{name}(1)+", ["a(1)+.png", "a1.png"], {"a": "a(1)+.png"}),  # what means something in regular expressions
    ],
)
def test_names_are_what_stands_in_their_place(pattern: str, files: list[str], names: dict[str, str]) -> None:
    assert name_files(files, pattern, "clean_name") == names


def test_two_files_of_one_name_are_told() -> None:
    with pytest.raises(
        DataError, match=r"^clean_name='\{name\}' gives 'a\.jpg' and 'a\.png' one name, 'a'\. Remove one"
    ):
        name_files(["a.jpg", "a.png"], "{name}", "clean_name")
    with pytest.raises(DataError, match=r"gives 'a_1\.png' and 'a_2\.png' one name, 'a'\."):
        name_files(["a_1.png", "a_2.png"], "{name}_*", "degraded_name")


def test_scenes_are_what_stands_in_their_place() -> None:
    names = ["room1_001", "room1_002", "sub/hall_x_1"]
    assert find_scenes(names, "{scene}_*") == ["room1", "room1", "sub/hall"]
    assert find_scenes(["a/1", "a/2", "b/1"], "{scene}/*") == ["a", "a", "b"]
    assert find_scenes(names, None) == names
    with pytest.raises(DataError, match=r"^scene='\{scene\}_\*' does not fit 2 of 3 names: a, b$"):
        find_scenes(["a", "b", "c_1"], "{scene}_*")


@pytest.mark.parametrize("pattern", ["photo", "", "{scene}", "{name}{name}", "{Name}"])
def test_a_pattern_must_say_where_the_name_is(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^clean_name must be a pattern with \{name\} in it once, such as .*, got '"):
        check_pattern("{name}", degraded_name="{name}_noisy", clean_name=pattern)
    check_pattern("{name}", degraded_name="{name}_noisy", clean_name=None)
