"""Hashes of files and frames, and the probe on which versions of a model are compared."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from platform_assets.errors import CorruptModelError, EmptyFrameError, ModelError

PROBE_ROWS: Final = 1_000  # enough to reach most leaves of a model, small enough to predict in milliseconds


def sha256(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def file_hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """File name to SHA-256 of its content, by name."""
    return {name: sha256(files[name]) for name in sorted(files)}


def files_hash(files: Mapping[str, bytes]) -> str:
    """One hash of many files, names included; their order does not matter."""
    return sha256(json.dumps(file_hashes(files)).encode())


def check_files(files: Mapping[str, bytes], expected: Mapping[str, str], *, where: str) -> None:
    """Returns where each file is there and unaltered. Raises: CorruptModelError naming the files that are not."""
    found = file_hashes(files)
    wrong = [
        f"{name}: {'missing' if name not in found else 'not in the manifest' if name not in expected else 'altered'}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    if wrong:
        raise CorruptModelError(
            f"{where}: files differ from the manifest's hashes: {', '.join(wrong)}; nothing was parsed",
            hint="restore the version's files, or roll back to the previous champion",
        )


def probe(rows: pl.DataFrame, size: int = PROBE_ROWS) -> pl.DataFrame:
    """The rows on which versions are compared: `size` of them at even steps, the first and the last among them."""
    if rows.is_empty():
        raise EmptyFrameError("a probe needs rows; the training set has none")
    count = min(size, rows.height)
    positions = [index * (rows.height - 1) // max(count - 1, 1) for index in range(count)]
    return rows[positions]


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 over a frame's column names, types, nulls and values; order of rows and columns counts, chunks do not."""
    digest = hashlib.sha256(f"{frame.height}".encode())
    for series in frame.get_columns():
        digest.update(f"|{series.name}|{series.dtype}|".encode())
        for part in _parts(series):
            digest.update(part)
    return digest.hexdigest()


def _parts(series: pl.Series) -> Iterator[bytes]:
    """Bytes that determine a series: which rows are null, then the values, nested ones by length and content."""
    dtype = series.dtype
    if dtype == pl.Null:
        return
    yield series.is_null().cast(pl.UInt8).to_numpy().tobytes()
    if isinstance(dtype, pl.Struct):
        for name in [one.name for one in dtype.fields]:
            yield from _parts(series.struct.field(name))
    elif isinstance(dtype, pl.List):
        lengths = series.list.len().fill_null(0)
        yield lengths.cast(pl.UInt64).to_numpy().tobytes()
        yield from _parts(series.filter(lengths > 0).explode())
    elif isinstance(dtype, pl.Array):
        yield from _parts(series.arr.to_list())
    elif dtype in {pl.String, pl.Categorical, pl.Enum, pl.Decimal}:
        text = series.cast(pl.String).fill_null("")
        yield text.str.len_bytes().cast(pl.UInt64).to_numpy().tobytes()
        yield text.str.join("").item().encode()
    elif dtype == pl.Boolean:
        yield series.fill_null(value=False).cast(pl.UInt8).to_numpy().tobytes()
    elif dtype.is_numeric() or dtype.is_temporal():
        yield series.to_physical().fill_null(0).to_numpy().tobytes()
    else:
        raise ModelError(f"column `{series.name}`: {dtype} has no content hash")
