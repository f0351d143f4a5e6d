"""What went wrong while definitions loaded, as one message: file, line, key and what to do, without Dagster's traceback."""

import os
import re
from collections.abc import Iterator

from platform_assets.errors import ConfigurationError, PerennialError


def complaint(error: BaseException) -> PerennialError | None:
    """The error made on purpose behind this one, or what is wrong in a defs.yaml; None where it is neither."""
    chain = list(_chain(error))
    for cause in reversed(chain):
        if isinstance(cause, PerennialError):
            return cause
    for cause in chain:
        if type(cause).__name__ in {"ResolutionException", "ValidationError"} and (said := _of_yaml(str(cause))):
            return said
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_yaml(text: str) -> ConfigurationError | None:
    """Dagster shows the place in the file, lines around it, and the mistake behind a caret."""
    place = re.search(r"^\s*(?P<file>\S.*?\.yaml):(?P<line>\d+)(?: - (?P<key>\S+))?", text, re.MULTILINE)
    mistake = re.search(r"\^\s*(?:\w+Error: )?(?P<what>[^\n]+)", text)
    if place is None or mistake is None:
        return None
    file = os.path.relpath(place["file"])
    key = f" `{place['key'].removeprefix('attributes.')}`:" if place["key"] else ""
    return ConfigurationError(f"{file}:{place['line']}:{key} {mistake['what'].strip()}", hint="mend that line")
