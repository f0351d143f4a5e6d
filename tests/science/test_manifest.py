"""Manifests survive JSON, refuse nonsense and say what differs."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from platform_assets.errors import CorruptModelError, ModelError
from platform_assets.science.constant import Constant
from platform_assets.science.fingerprint import content_hash, file_hashes
from platform_assets.science.manifest import Code, Manifest, diff, fit_of

CUT = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame({"x": [1.0, 2.0], "units": [0.0, 4.0]})
MODEL = Constant({"q500": 1.0, "q990": 4.0})


def manifest(**changes) -> Manifest:
    made = Manifest(
        model="demand", format="constant/1", task="quantiles", reason="drift of price", created_at=CUT,
        tables={"sales": 3, "features/season": 1}, views={"season": "a" * 64},
        code=Code("1" * 64, "2" * 64, "3" * 64, "abc+"), image="local", platform="Linux x86_64",
        features=("x",), label="units", outputs=("q500", "q990"), levels=(0.5, 0.99),
        parameters={"rounds": 300, "rate": 0.05, "inner": {"a": [1, 2]}}, seed=7, threads=1, device="cpu",
        shipped=fit_of(MODEL, ROWS, CUT), evaluation=fit_of(MODEL, ROWS[:1], CUT - timedelta(days=28)),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def test_json_round_trips_to_the_same_bytes():
    hashes = file_hashes(MODEL.files())
    made = manifest().with_files(hashes, hashes, ROWS.select("x"), MODEL.predict(ROWS))
    again = Manifest.from_json(made.to_json())
    assert again == made
    assert again.to_json() == made.to_json()
    assert again.fit("shipped").files == hashes
    assert [(one.name, one.dtype) for one in again.answers] == [("q500", "Float64"), ("q990", "Float64")]


def test_a_manifest_of_before_it_said_on_what_is_read():
    raw = json.loads(manifest().to_json())
    del raw["train_on"], raw["masks"]
    assert Manifest.from_json(json.dumps(raw).encode()) == manifest()
    told = manifest(train_on={"window_days": 91}, masks=({"since": "2024-01-01T00:00:00+00:00"},))
    assert Manifest.from_json(told.to_json()) == told
    assert diff(manifest(), told).keys() == {"train_on.window_days", "train_on", "masks"}


def test_times_are_written_in_utc():
    paris = CUT.astimezone(timezone(timedelta(hours=1)))
    assert manifest(created_at=paris).to_json() == manifest().to_json()


def test_a_fit_names_its_rows_and_predictions():
    fit = fit_of(MODEL, ROWS, CUT)
    assert (fit.row_count, fit.rows_sha256) == (2, content_hash(ROWS))
    assert fit.predictions_sha256 == content_hash(MODEL.predict(ROWS))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reason": ""}, "`reason` is empty"),
        ({"features": ()}, "must name columns"),
        ({"levels": (0.5,)}, "1 levels for 2 outputs"),
        ({"threads": 0}, "`threads` is 0"),
        ({"created_at": datetime(2024, 1, 1)}, "`created_at` has no time zone"),
        ({"code": Code("1" * 64, "short", "3" * 64)}, "`code.trainer_sha256` is no SHA-256: 'short'"),
        ({"shipped": dataclasses.replace(manifest().shipped, cut_at=CUT - timedelta(days=99))}, "lies before"),
        ({"shipped": dataclasses.replace(manifest().shipped, files={"a": "b"})}, r"shipped.files\[a\]"),
    ],
)
def test_nonsense_is_refused(changes: dict, expected: str):
    with pytest.raises(ModelError, match=expected):
        manifest(**changes)


def test_a_parameter_that_json_cannot_say_is_refused():
    with pytest.raises(TypeError, match="cannot stand in a manifest"):
        manifest(parameters={"model": object()}).to_json()
    with pytest.raises(ValueError, match=r"Out of range|not JSON compliant"):
        manifest(parameters={"rate": float("nan")}).to_json()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"schema": "perennial-manifest/2"}',
     json.dumps({**json.loads(manifest().to_json()), "extra": 1}).encode(),
     json.dumps({**json.loads(manifest().to_json()), "created_at": 5}).encode(),
     json.dumps({**json.loads(manifest().to_json()), "shipped": {}}).encode()],
)  # fmt: skip
def test_what_is_no_manifest_is_corrupt(content: bytes):
    with pytest.raises(CorruptModelError, match="manifest"):
        Manifest.from_json(content)


def test_diff_names_inputs_by_path_and_leaves_outcomes_out():
    other = manifest(
        tables={"sales": 4}, parameters={"rounds": 300, "rate": 0.1, "inner": {"a": [1, 2]}}, reason="other",
        created_at=CUT + timedelta(days=1), shipped=fit_of(MODEL, ROWS[:1], CUT + timedelta(days=7)),
    )  # fmt: skip
    assert diff(manifest(), other) == {
        "parameters.rate": (0.05, 0.1),
        "tables.features/season": (1, None),
        "tables.sales": (3, 4),
    }
    assert diff(manifest(), manifest()) == {}
