"""Feast's Redis online store with loads that never take a value back, and a TTL that means what it means offline.

    online_store:
      type: resources.feast_polars.online_redis.MonotoneRedisOnlineStore
      connection_string: redis:6379,db=0

Feast's own store reads an entity's event time and writes afterwards, so that two loads at once can both write; and it
drops a correction, whose event time is the one that stands already. Here a script compares and writes in the server, one
entity at once, by (event time, known-at time). Keys, fields and values are Feast's, so that Feast's own reader and feature
server read them too; one field more for each entity and view holds the order.
"""

from collections.abc import Callable
from itertools import chain, islice
from typing import Any, Final, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name  # pyright: ignore[reportPrivateUsage]
from feast.infra.online_stores.redis import RedisClient, RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from feast.repo_config import RepoConfig
from numpy.typing import NDArray
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from platform_assets.errors import ConfigurationError
from resources.feast_polars.online_read import Asked, Found, ReadsBytes
from resources.feast_polars.online_rows import OnlineRows, WritesRows, is_versioned
from resources.feast_polars.online_ttl import NowConfig
from resources.feast_polars.value_bytes import content_of, fixed, joined, offsets_of, varints, where

_A_CALL = 200  # entities that one call of the script writes: about a millisecond of the server's time
_CALLS = 50  # that are on their way at once
_FIRST_US: Final = 62_135_596_800_000_000  # from the year 1 to 1970: makes the numbers of the order positive

# An order is 36 digits, event then known-at, and the event time as Feast stores it. Where Feast's own writer has been
# since, that time differs and counts alone. Digits of one width compare as text in every locale.
_SCRIPT = """
local ts, own, expire, count = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local function digits(stored)
    local at, parts = 1, {0, 0}
    while at <= #stored do
        local field, value, scale = string.byte(stored, at), 0, 1
        repeat
            at = at + 1
            local byte = string.byte(stored, at)
            value = value + (byte % 128) * scale
            scale = scale * 128
        until byte < 128
        if value >= 9223372036854775808 then value = value - 18446744073709551616 end
        parts[field / 8] = value
        at = at + 1
    end
    return string.format('%018.0f', parts[1] * 1000000 + math.floor(parts[2] / 1000) + 62135596800000000)
end
local lengths, content, at, place = ARGV[5 + count], ARGV[6 + count], 1, 1
local row = '<' .. string.rep('I4', count + 2)
for _, key in ipairs(KEYS) do
    local sizes = {struct.unpack(row, lengths, place)}
    place = place + 4 * (count + 2)
    local stamp = string.sub(content, at, at + sizes[1] - 1)
    at = at + sizes[1]
    local order = string.sub(content, at, at + sizes[2] - 1)
    at = at + sizes[2]
    local pairs = {ts, stamp, own, order .. stamp}
    for f = 1, count do
        pairs[3 + 2 * f] = ARGV[4 + f]
        pairs[4 + 2 * f] = string.sub(content, at, at + sizes[2 + f] - 1)
        at = at + sizes[2 + f]
    end
    local held = redis.call('HMGET', key, ts, own)
    local before = ''
    if held[1] then
        if held[2] and string.sub(held[2], 37) == held[1] then
            before = string.sub(held[2], 1, 36)
        else
            before = digits(held[1])
            before = before .. before
        end
    end
    if order >= before then
        redis.call('HSET', key, unpack(pairs))
        if expire > 0 then redis.call('EXPIRE', key, expire) end
    end
end
return 0
"""


class MonotoneRedisOnlineStoreConfig(NowConfig, RedisOnlineStoreConfig):
    """As Feast's Redis store; one server or a sentinel's master."""

    type: Literal["resources.feast_polars.online_redis.MonotoneRedisOnlineStore"] = (  # pyright: ignore[reportIncompatibleVariableOverride]
        "resources.feast_polars.online_redis.MonotoneRedisOnlineStore"
    )


class MonotoneRedisOnlineStore(WritesRows, ReadsBytes, RedisOnlineStore):
    """An entity's values of one view are written together, and give way only to later ones."""

    in_key_order = False

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """As `online_write_batch`."""
        import asyncio

        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def read_bytes(self, config: RepoConfig, asked: list[Asked]) -> list[list[Found | None]]:
        """What stands for each key; see `ReadsBytes`. All views in one pipeline."""
        project, commands = config.project.encode(), []
        for view, keys, features in asked:
            name = compute_versioned_name(view, is_versioned(config))
            fields = [f"_ts:{name}".encode(), *(_mmh3(f"{name}:{feature}") for feature in features)]
            commands.append([(key + project, fields) for key in keys])
        replies = iter(self._read_hash_fields(config, [*chain.from_iterable(commands)]))
        return [
            [None if at is None else Found(at, values) for at, *values in islice(replies, len(some))]
            for some in commands
        ]

    def _read_hash_fields(self, config: RepoConfig, commands: list[tuple[bytes, Any]]) -> list[list[Any]]:
        """As Feast's, with requests that are packed once for all keys."""
        settings: Any = config.online_store
        if settings.client != RedisClient.redis or settings.redis_type == RedisType.redis_cluster or not commands:
            return super()._read_hash_fields(config, commands)
        client: Any = self._get_client(settings)
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([_packed(commands)])
            replies = [connection.read_response(disable_decoding=True) for _ in commands]
        except (RedisConnectionError, RedisTimeoutError):  # a lost connection: Feast's way tries again
            connection.disconnect()
            return super()._read_hash_fields(config, commands)
        except BaseException:
            connection.disconnect()  # replies may be on their way
            raise
        finally:
            pool.release(connection)
        return replies

    def write_rows(self, config: RepoConfig, table: FeatureView, rows: OnlineRows) -> None:
        """Write the rows, each entity at once, unless a later one stands already.

        Raises: ConfigurationError on a cluster, whose scripts cannot touch many keys.
        """
        settings: Any = config.online_store
        if settings.redis_type == RedisType.redis_cluster:
            raise ConfigurationError(
                f"online store {settings.type}: loads need one Redis server, this is a cluster",
                hint="use Feast's own store (type: redis), whose loads are not monotone, or a server with sentinels",
            )
        view = compute_versioned_name(table, is_versioned(config))
        client: Any = self._get_client(settings)
        script = client.script_load(_SCRIPT)
        project = pa.scalar(config.project.encode(), pa.large_binary())
        keys: list[bytes] = pl.Series(joined(rows.keys, project)).to_list()
        columns = [_stamps(rows.event_us), _orders(rows), *rows.values.values()]
        # One text of all values and one of their lengths: a hundred times fewer arguments to pack.
        whole = joined(*columns)
        content, ends = content_of(whole), offsets_of(whole).tolist()
        lengths = np.stack([np.diff(offsets_of(column)) for column in columns], axis=1).astype("<u4")
        head = [
            f"_ts:{view}".encode(),
            f"_perennial:{view}".encode(),
            settings.key_ttl_seconds or 0,
            len(rows.values),
            *(_mmh3(f"{view}:{feature}") for feature in rows.values),
        ]
        for first in range(0, len(keys), _A_CALL * _CALLS):
            with client.pipeline(transaction=False) as pipe:
                for start in range(first, min(first + _A_CALL * _CALLS, len(keys)), _A_CALL):
                    asked = keys[start : start + _A_CALL]
                    end = start + len(asked)
                    values = content[ends[start] : ends[end]].tobytes()
                    sizes = lengths[start:end].tobytes()
                    pipe.execute_command("EVALSHA", script, len(asked), *asked, *head, sizes, values)
                pipe.execute()


def _packed(commands: list[tuple[bytes, Any]]) -> bytes:
    """An HMGET for each key and its fields, as Redis's protocol has it."""
    tails: dict[int, tuple[bytes, bytes]] = {}
    written = []
    for key, fields in commands:
        if id(fields) not in tails:
            head = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(fields))
            tails[id(fields)] = head, b"\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
        head, tail = tails[id(fields)]
        written.append(b"%b%d\r\n%b%b" % (head, len(key), key, tail))
    return b"".join(written)


def _orders(rows: OnlineRows) -> pa.LargeBinaryArray:
    """36 digits each: event, then known-at."""
    numbers = np.stack([rows.event_us, rows.known_us], axis=1) + _FIRST_US
    digits = np.empty((len(rows), 2, 18), np.uint8)
    for place in range(17, -1, -1):
        numbers, digits[:, :, place] = np.divmod(numbers, 10)
    return fixed(digits.reshape(len(rows), 36) + ord("0"))


def _stamps(event_us: "NDArray[np.int64]") -> pa.LargeBinaryArray:
    """`Timestamp.SerializeToString()` of each: seconds and nanoseconds as varints, left out where 0."""
    seconds = event_us // 1_000_000
    nanos = (event_us - seconds * 1_000_000) * 1000
    return joined(where(seconds != 0, varints(seconds, b"\x08")), where(nanos != 0, varints(nanos, b"\x10")))
