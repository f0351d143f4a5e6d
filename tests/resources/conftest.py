"""Fixtures of the storage tests: processes that can import the test modules, and one PostgreSQL server."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import SpawnContext

import pytest

from tests.resources import postgres


@pytest.fixture
def spawn(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> SpawnContext:
    """Starts processes that import the test's module by its name: they inherit the path."""
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath))
    return multiprocessing.get_context("spawn")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of this machine; only long tests ask for it."""
    with postgres.server() as url:
        yield url
