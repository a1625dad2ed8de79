"""How fast things happened. Pure."""

from collections.abc import Sequence


def most_in_a_second(moments: Sequence[float]) -> int:
    """Return the most moments that lie within any one second, wherever it begins."""
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
