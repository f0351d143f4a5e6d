"""The domain classifier: shifts that no feature shows, series that must not tell themselves, and quiet worlds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import feature_drift, joint_shift

START = datetime(2025, 1, 1, tzinfo=UTC)


def issues(
    random: np.random.Generator, first: int, days: int, *, series: int = 120, together: float = 0.8
) -> pl.DataFrame:
    """Two features that go together, and the series' own level, which never changes."""
    day = np.repeat(np.arange(first, first + days), series)
    level = np.tile(np.random.default_rng(0).normal(size=series), days)
    x = random.normal(size=day.size) + 0.3 * random.normal(size=days)[day - first]
    y = together * x + np.sqrt(1 - together**2) * random.normal(size=day.size)
    return pl.DataFrame(
        {
            "series_id": np.tile([f"s{number}" for number in range(series)], days),
            "issued_at": [START + timedelta(days=int(at)) for at in day],
            "x": x,
            "y": y,
            "level": level,
            "kind": np.tile(["tea", "mug"], day.size // 2),
        }
    )


FEATURES = ["x", "y", "level", "kind"]


def verdict(reference: pl.DataFrame, current: pl.DataFrame) -> joint_shift.JointShift:
    return joint_shift.joint_shift(reference, current, FEATURES, group="series_id", window="issued_at")


def test_features_that_no_longer_go_together_are_found_although_each_is_as_ever() -> None:
    random = np.random.default_rng(1)
    reference, now = issues(random, 0, 40), issues(random, 45, 1, together=-0.8)
    alone = feature_drift.feature_drift(reference, now, FEATURES, window="issued_at")
    assert not alone["has_drifted"].any()
    found = verdict(reference, now)
    assert found.auc > 0.75
    assert found.p_value < 1e-4
    assert {name for name, _ in found.told_by[:2]} == {"x", "y"}
    assert 0.35 < found.usual < 0.65


def test_days_like_the_others_are_rarely_called_another_world() -> None:
    random = np.random.default_rng(2)
    found = [verdict(issues(random, 0, 30), issues(random, 33, 1)) for _ in range(6)]
    assert sum(one.p_value < 0.05 for one in found) <= 2
    assert all(0 <= one.p_value <= 1 for one in found)


def test_what_only_grows_old_is_no_shift() -> None:
    """The age of a series tells each day from those before it: so it has always been."""
    random = np.random.default_rng(3)
    rows = issues(random, 0, 41).with_columns(x=(pl.col("issued_at") - START).dt.total_days().cast(pl.Float64))
    at = START + timedelta(days=40)
    found = verdict(rows.filter(pl.col("issued_at") < at), rows.filter(pl.col("issued_at") == at))
    assert found.auc > 0.95
    assert found.p_value > 0.05


def test_a_series_is_not_told_by_its_own_features() -> None:
    """Large series are present, small ones are the reference: a classifier that has seen a series knows its level.

    With all rows of a series in one fold, what it learns of the others does not help where the level is arbitrary.
    """
    random = np.random.default_rng(4)
    level = random.normal(size=80)
    rows = pl.DataFrame({"series_id": np.repeat(np.arange(80), 20), "level": np.repeat(level, 20)})
    second = pl.Series(np.repeat(random.random(80) < 0.5, 20))
    auc, _ = joint_shift.domain_auc(
        rows.filter(~second), rows.filter(second), ["level"], group="series_id", random=random
    )
    assert abs(auc - 0.5) < 0.25
    own = rows.with_columns(series_id=pl.int_range(pl.len()))  # each row a series of its own: the leak
    leaked, _ = joint_shift.domain_auc(
        own.filter(~second), own.filter(second), ["level"], group="series_id", random=random
    )
    assert leaked > 0.95


def test_the_area_is_sklearns() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(5)
    for _ in range(20):
        positive, score = (random.random(50) < 0.4).astype(float), random.integers(0, 8, 50).astype(float)
        positive[:2] = 0, 1
        found = joint_shift.area_under_curve(positive, score)
        assert found == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_too_little_is_not_judged_and_does_not_break() -> None:
    random = np.random.default_rng(6)
    few = verdict(issues(random, 0, 40, series=4), issues(random, 41, 1, series=4))
    assert np.isnan(few.p_value)
    short = verdict(issues(random, 0, 5), issues(random, 6, 1))
    assert np.isfinite(short.auc)
    assert np.isnan(short.p_value)


def test_missing_columns_and_rows_are_named() -> None:
    random = np.random.default_rng(7)
    rows = issues(random, 0, 2)
    with pytest.raises(SchemaError, match=r"current rows lack \['y'\]"):
        verdict(rows, rows.drop("y"))
    with pytest.raises(EmptyFrameError, match="no reference rows"):
        verdict(rows.clear(), rows)
