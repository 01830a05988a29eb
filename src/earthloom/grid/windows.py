"""Windows that cover a grid."""

from collections.abc import Iterator

from earthloom.sample import Shape2d, Window


def cover(shape: Shape2d, size: int, stride: int | None = None) -> Iterator[Window]:
    """Square windows, row by row, that together cover a grid; the last reach over its edges."""
    stride = stride or size
    for row in _starts(shape.rows, size, stride):
        for col in _starts(shape.cols, size, stride):
            yield Window(row, col, Shape2d(size, size))


def _starts(length: int, size: int, stride: int) -> range:
    """Where windows start along one axis, so that the last one reaches the end."""
    return range(0, max(length - size, 0) + stride, stride)
