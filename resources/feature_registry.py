"""The Feast store of a configuration, opened once; writes to its registry beside other processes."""

import json
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

_ATTEMPTS = 8  # of a write to the registry beside other processes; they wait up to half a minute in all
_T = TypeVar("_T")


@cache
def opened_store(config: str) -> "FeatureStore":
    """One store per configuration and process: opening it anew costs a connection and a read of the registry."""
    from feast import FeatureStore

    def opened() -> FeatureStore:
        store = FeatureStore(config=_repo_config(config))
        store.registry.list_projects()  # creates the registry's tables
        return store

    return beside_others(opened)


def beside_others(write: Callable[[], _T]) -> _T:
    """`write`, again if another process wrote the same rows of the registry meanwhile: Feast reads before it inserts."""
    from sqlalchemy.exc import IntegrityError, OperationalError

    for attempt in range(_ATTEMPTS - 1):
        try:
            return write()
        except (IntegrityError, OperationalError):
            time.sleep((0.1 + os.getpid() % 7 / 20) * 1.6**attempt)
    return write()


def _repo_config(config: str) -> "RepoConfig":
    from feast.repo_config import RepoConfig

    return RepoConfig(**json.loads(config))


def replace_link(link: Path, target: Path) -> None:
    """The link leads to the target, at no moment nowhere."""
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    unfinished = link.with_name(f".{link.name}.{os.getpid()}")
    unfinished.symlink_to(target)
    unfinished.replace(link)
