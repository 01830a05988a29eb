"""How many base pixels wide the pixels of a coarser layer are, so that all layers nest."""

TOLERANCE = 1.05
"""A layer is at most so much coarser than its band: 480 m for the 463 m of MODIS."""


def nested_factor(gsd: float, base: float) -> int:
    """The factor of a band's layer over a base grid; both in metres.

    It is the greatest of 1, 2, 3, 6, 12, 24, 48, ... that makes the layer not coarser than the
    band (by `TOLERANCE`), so that nothing of the band is lost: a band of 15 m over 10 m is read
    onto the base grid, one of 500 m over 10 m has pixels of 480 m. Of the factors of a project the
    least common multiple is then the greatest of them, or 6, and windows stay small.
    """
    wanted = gsd / base * TOLERANCE
    if wanted < 6:
        return max([factor for factor in (1, 2, 3) if factor <= wanted], default=1)
    factor = 6
    while factor * 2 <= wanted:
        factor *= 2
    return factor
