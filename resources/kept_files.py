"""Files that arrive and are kept: in the state directory, or on S3 where a pod's disk dies with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from platform_assets.errors import DataError
from resources.artifacts import Artifacts
from resources.line_files import MANIFEST, SUFFIXES, LineFile, manifest_of, read_file, read_manifest

ARRIVING_FOLDER: Final = "landing"
ACCEPTED_FOLDER: Final = "accepted"
_ACCEPTED: Final = re.compile(r"^(?P<at>\d{8}T\d{12}Z)_(?P<digest>[0-9a-f]{16})_(?P<name>.+)$")
_STAMP: Final = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class Waiting:
    """A file that waits, or was taken: where it lies, and what changes when it is written to again."""

    name: str
    where: str
    stamp: str
    modified_at: datetime
    is_taken: bool = False


@dataclass(frozen=True)
class Accepted:
    """A file that became part of the source: its own name, the first 16 digits of its SHA-256, and when it arrived."""

    name: str
    digest: str
    arrived_at: datetime
    where: str


class KeptFiles:
    """`landing/` and `accepted/` below one root."""

    def __init__(self, store: Artifacts) -> None:
        self.store = store

    def waiting(self) -> list[Waiting]:
        """Files in the landing folder, oldest first; hidden ones and manifests are not among them."""
        return self._listed(ARRIVING_FOLDER, is_taken=False)

    def taken(self) -> list[Waiting]:
        """Files that were accepted, as they lie there."""
        return [file for file in self._listed(ACCEPTED_FOLDER, is_taken=True) if _ACCEPTED.match(file.name)]

    def accepted(self) -> list[Accepted]:
        """Files that were accepted, in order of arrival."""
        names = sorted(stored.key.rpartition("/")[2] for stored in self.store.listing(ACCEPTED_FOLDER))
        return [
            Accepted(found["name"], found["digest"], _instant(found["at"]), self.store.uri(f"{ACCEPTED_FOLDER}/{name}"))
            for name in names
            if (found := _ACCEPTED.match(name))
        ]

    def read(self, where: str | Path) -> LineFile:
        """A file's content, from the disk or from S3.

        Raises: DataError naming the file.
        """
        text = str(where)
        if "://" not in text:
            return read_file(Path(text))
        file = LineFile(text.rpartition("/")[2], self.store.get(text.removeprefix(f"{self.store.root}/")))
        if not file.content:
            raise DataError(f"{file.name}: 0 bytes", hint="was the export cut off?")
        return file

    def manifest(self, where: str | Path) -> Mapping[str, Any] | None:
        """What the manifest beside a file states; None where there is none.

        Raises: ContractError where it is no JSON object.
        """
        text = str(where)
        if "://" not in text:
            return manifest_of(Path(text))
        key = text.removeprefix(f"{self.store.root}/") + MANIFEST
        beside = {stored.key for stored in self.store.listing(ARRIVING_FOLDER)}
        return read_manifest(key.rpartition("/")[2], self.store.get(key)) if key in beside else None

    def keep(self, file: LineFile, now: datetime) -> None:
        """Make a file the last accepted one; after a kill there is the whole file, or none."""
        stamp, last = now.astimezone(UTC), max((one.arrived_at for one in self.accepted()), default=None)
        if last is not None and stamp <= last:  # a pinned clock stands still, the order must not
            stamp = last + timedelta(microseconds=1)
        name = f"{stamp.strftime(_STAMP)}_{file.digest[:16]}_{file.name}"
        self.store.put(f"{ACCEPTED_FOLDER}/{name}", file.content)

    def _listed(self, folder: str, *, is_taken: bool) -> list[Waiting]:
        found, listed = [], self.store.listing(folder)
        manifests = {stored.key: stored for stored in listed if stored.key.endswith(MANIFEST)}
        for stored in listed:
            name = stored.key.rpartition("/")[2]
            if name[0] != "." and Path(name).suffix.lower() in SUFFIXES:
                parts = [stored, *([manifests[beside]] if (beside := stored.key + MANIFEST) in manifests else [])]
                stamp = "+".join(f"{part.size}-{part.modified_at.timestamp():.6f}" for part in parts)
                written_at = max(part.modified_at for part in parts)  # a manifest laid later is news of its file
                found.append(Waiting(name, self.store.uri(stored.key), stamp, written_at, is_taken))
        return found


def _instant(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
