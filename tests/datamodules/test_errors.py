import pytest

from datamodules.errors import DataError, abbreviate, check_at_least, check_fractions, check_one_of, refuse


def test_an_argument_is_refused_in_one_form() -> None:
    with pytest.raises(ValueError, match=r"^side must be odd, got 4$"):
        refuse("side", 4, "odd")
    with pytest.raises(DataError, match=r"^part must be in capitals, got 'a'$"):
        refuse("part", "a", "in capitals", DataError)


def test_checks_let_pass_what_is_allowed() -> None:
    check_at_least(1, side=1, width=2)
    check_fractions(val_fraction=0.5, test_fraction=0.4)
    check_one_of(("A", "B"), part="B")


def test_checks_name_the_argument_that_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^width must be at least 1, got nan$"):
        check_at_least(1, side=1, width=float("nan"))
    with pytest.raises(ValueError, match=r"^test_fraction must be above 0 and below 1, got 1$"):
        check_fractions(val_fraction=0.5, test_fraction=1)
    with pytest.raises(ValueError, match=r"^part must be one of A, B, got 'C'$"):
        check_one_of(("A", "B"), part="C")


def test_long_lists_are_abbreviated() -> None:
    assert abbreviate(list("abcde")) == "a, b, c, d, e"
    assert abbreviate(list("abcdefg")) == "a, b, c, d, e and 2 more"
