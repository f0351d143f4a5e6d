"""What went wrong while definitions loaded, as one message: file, line, key and what to do, without Dagster's traceback."""

import os
import re
from collections.abc import Iterator

from platform_assets.errors import ConfigurationError, PerennialError

PLACE = re.compile(r"^\s*(?P<file>\S.*?\.yaml):(?P<line>\d+)(?: - (?P<key>\S+))?", re.MULTILINE)
EXTRA = re.compile(r"`(?:attributes\.)?(?P<key>\S+) at (?P<file>\S+\.yaml):(?P<line>\d+)`\s*\n\s*(?P<what>[^\[\n]+)")


def complaint(error: BaseException) -> PerennialError | None:
    """The error made on purpose behind this one, or what is wrong in a defs.yaml; None where it is neither."""
    chain = list(_chain(error))
    for cause in reversed(chain):
        if isinstance(cause, PerennialError):
            return _placed(cause, chain)
    for cause in chain:
        if type(cause).__name__ in {"ResolutionException", "ValidationError"} and (said := _of_yaml(str(cause))):
            return said
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _placed(error: PerennialError, chain: list[BaseException]) -> PerennialError:
    """The same with the file and line at which Dagster was when it was raised, where the message does not say."""
    for outer in chain:
        if type(outer).__name__ == "ResolutionException" and (place := PLACE.search(str(outer))):
            file = os.path.relpath(place["file"])
            if not error.message.startswith(file):
                return type(error)(f"{file}:{place['line']}: {error.message}", hint=error.hint)
    return error


def _of_yaml(text: str) -> ConfigurationError | None:
    """Dagster shows the place in the file, lines around it, and the mistake behind a caret."""
    if extra := EXTRA.search(text):
        said = f"{os.path.relpath(extra['file'])}:{extra['line']}: `{extra['key']}`"
        if "Extra inputs" in extra["what"]:
            return ConfigurationError(f"{said}: no such key", hint="the README's tables of keys say which there are")
        return ConfigurationError(f"{said}: {extra['what'].strip()}", hint="mend that line")
    place = PLACE.search(text)
    mistake = re.search(r"\^\s*(?:\w+Error: )?(?P<what>[^\n]+)", text)
    if place is None or mistake is None:
        return None
    file = os.path.relpath(place["file"])
    key = f" `{place['key'].removeprefix('attributes.')}`:" if place["key"] else ""
    return ConfigurationError(f"{file}:{place['line']}:{key} {mistake['what'].strip()}", hint="mend that line")
