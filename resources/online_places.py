"""Where the online store is, from one URL to what Feast wants to be told."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from platform_assets.errors import ConfigurationError


def online_store(url: str) -> dict[str, Any]:
    """Feast's settings of the online store at this URL.

    Raises: ConfigurationError for a URL of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "type": "resources.feast_polars.online.MonotoneSqliteOnlineStore",
            "path": url.removeprefix("sqlite:///"),
        }
    options = dict(parse_qsl(parts.query))
    if parts.scheme in ("redis", "rediss"):
        settings = {"db": parts.path.strip("/"), "ssl": "true" if parts.scheme == "rediss" else ""}
        settings |= {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
        if "," in settings["password"]:
            raise ConfigurationError(
                "online store: a Redis password cannot hold a comma, as Feast parts settings by it"
            )
        text = ",".join(f"{name}={value}" for name, value in (settings | options).items() if value)
        address = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        return {
            "type": "resources.feast_polars.online_redis.MonotoneRedisOnlineStore",
            "connection_string": f"{address},{text}" if text else address,
        }
    if parts.scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return {
            "type": "resources.feast_polars.online_postgres.MonotonePostgreSQLOnlineStore",
            "host": parts.hostname or "localhost",
            "port": parts.port or 5432,
            "database": parts.path.strip("/"),
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "sslmode": "prefer",
            **options,
        }
    raise ConfigurationError(
        f"online store: {parts.scheme or url!r} is none that is known here",
        hint="name it as sqlite:///file, redis://host:6379/0 or postgresql://user:password@host/database",
    )
