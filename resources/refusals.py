"""Files that were refused, by their content and by the rules that refused them: other rules, another answer."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import DataError, PerennialError
from platform_assets.science.source import Source
from resources import line_files
from resources.source_digest import source_digest

if TYPE_CHECKING:
    from resources.line_files import LineFile


def rules_digest(source: Source) -> str:
    """Digest of all that decides whether a file is taken, and how its lines are read: the source's folder, and our own code."""
    digest = hashlib.sha256(repr(replace(source, folder="")).encode() + _own_code().encode())
    for file in sorted(Path(source.folder).glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@cache
def _own_code() -> str:
    reading = hashlib.sha256(Path(line_files.__file__).read_bytes()).hexdigest()
    return source_digest("platform_assets.science.intake:examine") + reading


def record_refusal(
    ledger: Any,
    source: Source,
    where: str | Path,
    error: PerennialError,
    *,
    now: datetime,
    read: "Callable[[str], LineFile] | None" = None,
) -> None:
    """Keep in the ledger that a file was refused, and why; once for the same file and reason.

    The file is the one that the error blames, `where` if it blames none.
    """
    at_fault = str((error.file if isinstance(error, DataError) else None) or where)
    try:
        digest = (read(at_fault) if read else line_files.read_file(Path(at_fault))).digest
    except DataError:
        digest = ""  # there is nothing to hash
    name = at_fault.rpartition("/")[2]
    if not any((r.file, r.sha256, r.reason) == (name, digest, str(error)) for r in ledger.refusals(source.name)):
        ledger.record_refusal(source.name, name, sha256=digest, reason=str(error), at=now)
    if digest:
        ledger.complete(_key(source, digest), {"file": name, "reason": str(error)}, at=now)


def is_refused(ledger: Any, source: Source, digest: str) -> bool:
    """Whether a file of this content was refused by the rules that hold now."""
    return ledger.completed(_key(source, digest)) is not None


def _key(source: Source, digest: str) -> str:
    return f"refused/{source.name}/{digest}/{rules_digest(source)[:16]}"
