"""Plan, and on a word from the parent process apply. A process of its own: it imports the repository's modules.

    python -m resources.feast_repository.apply REPOSITORY

Prints the plan as a line of JSON, reads a line of JSON with the names to delete (or nothing, which ends it), applies, and prints
what the registry then holds. The registry is locked from the plan to the end.
"""

import json
import sys
from pathlib import Path

from feast.repo_operations import _get_repo_contents  # pyright: ignore[reportPrivateUsage]

from resources.feast_repository.describe import enter
from resources.feast_repository.registry import held, planned, write
from resources.feast_repository.store import one_writer, opened


def main(repository: str) -> None:
    """The conversation of the module's docstring, on the real standard output: Feast prints a lot on the other one."""
    out, sys.stdout = sys.stdout, sys.stderr
    place = Path(repository).resolve()
    enter(place)
    store = opened(str(place))
    contents = _get_repo_contents(place, store.project, store.config)
    with one_writer(store.config):
        store.refresh_registry()
        print(json.dumps(planned(store, contents).to_json()), file=out, flush=True)  # an answer
        if not (answer := sys.stdin.readline().strip()):
            return
        write(store, contents, json.loads(answer))
        print(json.dumps(held(store)), file=out, flush=True)  # an answer


if __name__ == "__main__":
    main(*sys.argv[1:])
