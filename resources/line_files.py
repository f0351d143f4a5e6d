"""Files of lines as they lie on a disk: Parquet or CSV, told by their content, refused where they are damaged."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import ContractError, EmptyFrameError, SchemaError

if TYPE_CHECKING:
    import polars as pl

PARQUET = b"PAR1"
NEWLINE = b"\n"
MANIFEST = ".manifest.json"
SUFFIXES = (".parquet", ".csv")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
STRANGERS = {  # first bytes of what is often sent under another name
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"%PDF": "a PDF",
    b"PARE": "encrypted Parquet",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "Avro",
    b"SQLite format": "a SQLite database",
}


@dataclass(frozen=True)
class LineFile:
    """A file read once: what was hashed is what is parsed."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_parquet(self) -> bool:
        return self.content.startswith(PARQUET)

    @property
    def is_text(self) -> bool:
        """Whether its cells are text, to be parsed."""
        return not self.is_parquet


def read_file(path: Path) -> LineFile:
    """The file's content, where it is a regular file with something in it.

    Raises: SchemaError or EmptyFrameError naming the file.
    """
    try:
        if not path.exists():
            raise SchemaError(f"{path}: no such file", hint="give the path of a Parquet or CSV file")
        if not path.is_file():
            raise SchemaError(
                f"{path}: {'a folder' if path.is_dir() else 'no regular file'}, expected a Parquet or CSV file"
            )
        content = path.read_bytes()
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not content:
        raise EmptyFrameError(f"{path.name}: 0 bytes", hint="was the export cut off?")
    return LineFile(path.name, content)


def manifest_of(path: Path) -> Mapping[str, Any] | None:
    """What `<file>.manifest.json` beside a file states; None where there is none.

    Raises: ContractError where it is no JSON object.
    """
    beside = path.with_name(f"{path.name}{MANIFEST}")
    if not beside.is_file():
        return None
    try:
        return read_manifest(beside.name, beside.read_bytes())
    except OSError as error:
        raise ContractError(f"{beside.name}: cannot be read: {error.strerror or error}") from error


def read_manifest(name: str, content: bytes) -> Mapping[str, Any]:
    """What a manifest states.

    Raises: ContractError where it is no JSON object.
    """
    try:
        stated = json.loads(content)
    except ValueError as error:
        raise ContractError(f"{name}: no JSON: {error}") from error
    if not isinstance(stated, dict):
        raise ContractError(f"{name}: {type(stated).__name__}, expected an object with `rows` or `sha256`")
    return stated


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """The first 8 digits of what tells one manifest from another."""
    return hashlib.sha256(repr(sorted(manifest.items())).encode()).hexdigest()[:8]


def check_end(file: LineFile, manifest: Mapping[str, Any] | None = None) -> None:
    """Refuse a CSV that ends within a line, unless a manifest states how many rows, or which content, it has.

    Raises: SchemaError.
    """
    from platform_assets.science.volume import states_whole

    if file.is_parquet or states_whole(manifest):
        return
    content = _text(file)
    if not content.endswith((b"\n", b"\r")):
        lines = content.splitlines()
        raise SchemaError(
            f"{file.name}: ends within row {len(lines) - 1} ({lines[-1].decode()[-40:]!r}), without a line end: is the file cut off?",
            hint="write it under another name and rename it when it is complete; if its last row is whole, end it with a newline "
            f'(echo >> {file.name}), or state how many rows it has, such as {{"rows": 1234}}, in {file.name}{MANIFEST} beside it',
        )


def column_names(file: LineFile, delimiter: str = ",") -> list[str]:
    """Names in the file's own order, repeated ones too.

    Raises: SchemaError where the file cannot be opened as what it claims to be.
    """
    if file.is_parquet:
        return list(_parquet(file).schema_arrow.names)
    return _header(file, delimiter)


def raw_lines(file: LineFile, delimiter: str = ",") -> "pl.DataFrame":
    """All cells: typed as Parquet has them, text as CSV has it.

    Raises: SchemaError naming the file, and the row where it is one row that is damaged.
    """
    names = column_names(file, delimiter)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SchemaError(f"{file.name}: column `{twice[0]}` stands there twice; columns {names}")
    return _read_parquet(file) if file.is_parquet else _read_csv(file, names, delimiter)


def _parquet(file: LineFile) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(io.BytesIO(file.content), page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        is_cut = not file.content.endswith(PARQUET)
        raise SchemaError(
            f"{file.name}: damaged Parquet{', its end is missing' if is_cut else ''} ({_line(error)})",
            hint="copy it again",
        ) from error


def _read_parquet(file: LineFile) -> "pl.DataFrame":
    import polars as pl
    import pyarrow as pa

    opened = _parquet(file)
    nested = [field.name for field in opened.schema_arrow if pa.types.is_nested(field.type)]
    strange = [
        field.name
        for field in opened.schema_arrow
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    ]
    if nested or strange:
        name = (nested + strange)[0]
        raise SchemaError(
            f"{file.name}: column `{name}` holds {opened.schema_arrow.field(name).type}, expected plain values"
        )
    try:
        table = opened.read()
        table.validate(full=True)
        frame = pl.from_arrow(table)
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise SchemaError(f"{file.name}: damaged Parquet ({_line(error)})", hint="copy it again") from error
    if table.num_rows != opened.metadata.num_rows:
        raise SchemaError(f"{file.name}: {table.num_rows} rows, its footer states {opened.metadata.num_rows}")
    assert isinstance(frame, pl.DataFrame)
    return frame


def _text(file: LineFile) -> bytes:
    """The bytes of a CSV without a byte-order mark.

    Raises: SchemaError where they are something else, or no UTF-8.
    """
    suffix = Path(file.name).suffix.lower()
    if suffix in SPREADSHEETS:
        raise SchemaError(f"{file.name}: {suffix[1:]} is not read", hint="save it as CSV (UTF-8) or Parquet")
    for start, what in STRANGERS.items():
        if file.content.startswith(start):
            raise SchemaError(
                f"{file.name}: {what}, expected Parquet or CSV in UTF-8", hint="unpack or convert it first"
            )
    if suffix == SUFFIXES[0]:
        raise SchemaError(
            f"{file.name}: not a Parquet file: it begins with {file.content[:20]!r}",
            hint="write it as Parquet; if it is CSV, name it so",
        )
    content = file.content.removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] == b"<":
        raise SchemaError(
            f"{file.name}: starts with {content.lstrip()[:20]!r}, a web page or XML; expected Parquet or CSV"
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SchemaError(
            f"{file.name}: no UTF-8 in row {line - 1}: byte 0x{content[error.start]:02x} after {content[max(0, error.start - 20) : error.start]!r}",
            hint="export it in UTF-8",
        ) from error
    if b"\0" in content:
        raise SchemaError(
            f"{file.name}: a NUL byte in row {content.count(NEWLINE, 0, content.index(0))}, expected text"
        )
    return content


def _header(file: LineFile, delimiter: str) -> list[str]:
    import csv

    first = _text(file).decode("utf-8").splitlines()[:1]
    names = next(csv.reader(first, delimiter=delimiter), [])
    if len(names) == 1:
        other = next((mark for mark in ";\t|," if mark != delimiter and mark in names[0]), None)
        if other is not None:
            raise SchemaError(
                f"{file.name}: one column {names[0]!r}; is it separated by {other!r} rather than {delimiter!r}?",
                hint=f"say `delimiter: {other!r}` in the source's defs.yaml",
            )
    return names


def sniff_delimiter(file: LineFile) -> str:
    """The separator that a CSV's header seems to have; a comma where it has none, and of Parquet."""
    if file.is_parquet:
        return ","
    header = _text(file).decode("utf-8").splitlines()[0]
    return max(",;\t|", key=header.count)


def _read_csv(file: LineFile, names: list[str], delimiter: str) -> "pl.DataFrame":
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(
            io.BytesIO(_text(file)),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SchemaError(
            f"{file.name}: {_line(error)} (row numbers of this message count the header as 1)",
            hint="each row needs as many cells as the header; quote cells that hold the separator",
        ) from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
