"""Writes the chip index: one pass over the chips, then one over the rows to order them in space."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from earthloom.chips.index_lookup import NO_DAY, LookupWriter, lookup_folder, mark_of
from earthloom.chips.index_schema import (
    SCHEMA,
    ChipRow,
    boxes_of,
    geo_metadata,
    hilbert,
    to_columns,
)
from earthloom.errors import ContractError, StageError

GROUP_ROWS = 16_384
"""Chips in a row group: what a reader of a small box reads at least."""

_SPOOL_ROWS = 8192


class IndexWriter:
    """Takes rows as chips are made, in any order and number; no index is there before `finish`.

    Rows wait in a file beside the index, so that memory holds a few thousand of them; at the end
    their ids, boxes and classes, less than a kilobyte a row. As a context it finishes, or leaves
    nothing after an error.
    """

    def __init__(self, file: Path, group_rows: int = GROUP_ROWS) -> None:
        self._file, self._group_rows = file, group_rows
        self._spool = file.with_name(f"{file.name}.{os.getpid()}.rows")
        self._waiting: list[ChipRow] = []
        self._count = 0
        self._boxes: list[NDArray[np.float64]] = []
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pa.ipc.new_file(str(self._spool), SCHEMA)
        except OSError as error:
            raise StageError(f"the chip index {file} cannot be written: {error}") from error

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def add(self, rows: Sequence[ChipRow]) -> None:
        """Takes the next chips; their place in the chip store is the order of these calls."""
        self._waiting.extend(rows)
        while len(self._waiting) >= _SPOOL_ROWS:
            self._write_rows(self._waiting[:_SPOOL_ROWS])
            del self._waiting[:_SPOOL_ROWS]

    def discard(self) -> None:
        """Leaves nothing behind."""
        self._writer.close()
        self._spool.unlink(missing_ok=True)

    def finish(self) -> int:
        """Writes the index and its lookup; returns the number of chips.

        ContractError if there is none, or if two have the same id.
        """
        try:
            if self._waiting:
                self._write_rows(self._waiting)
            self._writer.close()
            if not self._count:
                raise ContractError("an index needs chips, but none was added")
            self._order_rows()
        except OSError as error:
            raise StageError(f"the chip index {self._file} cannot be written: {error}") from error
        finally:
            self.discard()
        write_lookup(self._file)
        return self._count

    def _write_rows(self, rows: Sequence[ChipRow]) -> None:
        table = to_columns(rows, self._count)
        self._boxes.append(boxes_of(table))
        self._count += len(rows)
        self._writer.write_table(table)

    def _order_rows(self) -> None:
        boxes = np.concatenate(self._boxes)
        order = np.argsort(hilbert(boxes), kind="stable")
        with pa.memory_map(str(self._spool)) as source:
            spool = pa.ipc.open_file(source)
            batches = [spool.get_batch(number) for number in range(spool.num_record_batches)]
            _check_ids(batches)
            starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
            ordered = (
                _gather(batches, starts, order[first : first + self._group_rows])
                for first in range(0, len(order), self._group_rows)
            )
            _write_parquet(self._file, ordered, SCHEMA.with_metadata(geo_metadata(boxes)))


def _check_ids(batches: Sequence[pa.RecordBatch]) -> None:
    ids = pa.chunked_array([batch.column("id") for batch in batches])
    counted = pc.value_counts(ids)
    counts = counted.field("counts").to_numpy()
    if counts.max() > 1:
        twice = counted.field("values")[int(counts.argmax())].as_py()
        raise ContractError(f"{counts.max()} chips have the id '{twice}'; ids must differ")


def _gather(
    batches: Sequence[pa.RecordBatch], starts: NDArray[np.int64], rows: NDArray[np.int64]
) -> pa.Table:
    """Rows of all batches together, each batch touched once."""
    batch = np.searchsorted(starts, rows, "right") - 1
    parts = [
        batches[number].take(pa.array(rows[batch == number] - starts[number]))
        for number in np.unique(batch).tolist()
    ]
    came = np.argsort(batch, kind="stable")
    back = np.empty(len(rows), np.int64)
    back[came] = np.arange(len(rows))
    return pa.Table.from_batches(parts).take(pa.array(back))


def _write_parquet(file: Path, groups: Iterator[pa.Table], schema: pa.Schema) -> None:
    """Writes one row group a table, then puts the file in place."""
    half = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with pq.ParquetWriter(half, schema, compression="zstd") as writer:
            for group in groups:
                writer.write_table(group.cast(schema), row_group_size=max(len(group), 1))
        half.replace(file)
    finally:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)


def replace_column(file: Path, name: str, values: NDArray[np.generic]) -> None:
    """Writes an index anew with other values (n,) of one column, such as `split`, in its order.

    ContractError where the column or the number of values does not fit.
    """
    source = pq.ParquetFile(file)
    if name not in SCHEMA.names or name in ("id", "number", "bbox", "geometry"):
        raise ContractError(f"the column '{name}' of an index cannot be replaced")
    if len(values) != source.metadata.num_rows:
        raise ContractError(
            f"{len(values)} values of '{name}' for {source.metadata.num_rows} chips"
        )
    schema = source.schema_arrow
    place = schema.get_field_index(name)

    def groups() -> Iterator[pa.Table]:
        first = 0
        for number in range(source.num_row_groups):
            table = source.read_row_group(number)
            part = pa.array(values[first : first + len(table)], type=schema.field(name).type)
            first += len(table)
            yield table.set_column(place, schema.field(name), part)

    try:
        _write_parquet(file, groups(), schema)
    except OSError as error:
        raise StageError(f"the chip index {file} cannot be written: {error}") from error
    write_lookup(file)


def write_lookup(file: Path) -> None:
    """Makes the lookup of an index from its Parquet file, by row groups."""
    lookup = LookupWriter()
    source = pq.ParquetFile(file)
    columns = [name for name in SCHEMA.names if name not in ("geometry", "layers", "source")]
    for number in range(source.num_row_groups):
        table = source.read_row_group(number, columns=columns)
        codes, _ = _lists(table, "label_codes")
        lookup.add(
            _arrays(table),
            {name: table.column(name).to_pylist() for name in ("area", "split", "group")},
            codes,
        )
    try:
        lookup.write(lookup_folder(file), mark_of(file))
    except OSError as error:
        raise StageError(f"the lookup of {file} cannot be written: {error}") from error


def _arrays(table: pa.Table) -> dict[str, NDArray[np.generic]]:
    counts, sizes = _lists(table, "label_counts")
    ids = [text.encode() for text in table.column("id").to_pylist()]
    arrays: dict[str, NDArray[np.generic]] = {
        "histogram_counts": counts,
        "label_sizes": sizes,
        "id_sizes": np.array([len(text) for text in ids], np.int64),
        "id_bytes": np.frombuffer(b"".join(ids), np.uint8),
        "box": boxes_of(table),
    }
    for name in ("number", "valid_fraction", "weight", "row", "col", "size"):
        arrays[name] = table.column(name).to_numpy()
    for name in ("first_day", "last_day"):
        days = table.column(name).cast(pa.int32()).fill_null(NO_DAY)
        arrays[name] = days.to_numpy().astype(np.int32)
    return arrays


def _lists(table: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All values of a list column one after another, and how many each row has."""
    column = table.column(name)
    values = column.combine_chunks().flatten() if len(column) else pa.array([], pa.int64())
    sizes = pc.list_value_length(column).to_numpy()
    return values.to_numpy(zero_copy_only=False).astype(np.int64), sizes.astype(np.int64)
