"""Files that were refused, by their content and by the rules that refused them: other rules, another answer."""

import hashlib
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
    from resources.kept_files import KeptFiles


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
    kept: "KeptFiles | None" = None,
) -> None:
    """Keep in the ledger that a file was refused, and why; once for the same file and reason.

    The file is the one that the error blames, `where` if it blames none.
    """
    at_fault = str((error.file if isinstance(error, DataError) else None) or where)
    try:
        digest = (kept.read(at_fault) if kept else line_files.read_file(Path(at_fault))).digest
    except DataError:
        digest = ""  # there is nothing to hash
    name = at_fault.rpartition("/")[2]
    if not any((r.file, r.sha256, r.reason) == (name, digest, str(error)) for r in ledger.refusals(source.name)):
        ledger.record_refusal(source.name, name, sha256=digest, reason=str(error), at=now)
    if digest:
        ledger.complete(_key(source, digest, vouched(at_fault, kept)), {"file": name, "reason": str(error)}, at=now)


def is_refused(ledger: Any, source: Source, digest: str, manifest: str = "") -> bool:
    """Whether a file of this content, with a manifest of this digest or none, was refused by the rules that hold now."""
    return ledger.completed(_key(source, digest, manifest)) is not None


def vouched(where: str | Path, kept: "KeptFiles | None" = None) -> str:
    """Digest of the manifest beside a file; empty where there is none."""
    try:
        manifest = kept.manifest(where) if kept else line_files.manifest_of(Path(where))
    except DataError as error:  # no JSON; one that is mended has another digest
        manifest = {"error": error.message}
    return "" if manifest is None else line_files.manifest_digest(manifest)


def _key(source: Source, digest: str, manifest: str) -> str:
    return "/".join(["refused", source.name, digest, *([manifest] if manifest else []), rules_digest(source)[:16]])
