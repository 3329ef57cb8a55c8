"""Ranges as arguments of degradations."""

from datamodules.errors import refuse


def as_range(
    name: str, value: float | tuple[float, float], least: float, most: float = float("inf")
) -> tuple[float, float]:
    """Take one number, or the smallest and the largest, for a range.

    Args:
        name: Name of the argument.
        value: What was given.
        least: Smallest number that is allowed.
        most: Largest number that is allowed. Default: any.

    Returns:
        Smallest and largest number.

    Raises:
        ValueError: If a number is out of these bounds, or the two descend; names the argument.
    """
    low, high = value if isinstance(value, tuple | list) else (value, value)
    if not least <= low <= high <= most:
        bounds = f"from {least:g}" + (f" to {most:g}" if most < float("inf") else "")
        refuse(name, value, f"a number {bounds}, or two such ascending")
    return float(low), float(high)
