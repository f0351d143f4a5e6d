"""`demand`: what its two halves say, averaged; and no trainer's parameter is taken for another's."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.defs.models.demand import train
from platform_assets.errors import ConfigurationError
from platform_assets.science import network
from platform_assets.science.fitting import FitSettings
from platform_assets.science.tasks import QUANTILES

FEATURES = ("level", "signal", "target_weekday", "recent_units")
PLAIN = FEATURES[:3]
SMALL = {"rounds": 10, "first_rounds": 5, "network_hidden": 8}


def planted(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    level, signal = rng.lognormal(1, 1, rows), rng.random(rows)
    return pl.DataFrame(
        {
            "series_id": [f"s{n % 20}" for n in range(rows)],
            "level": level,
            "signal": signal,
            "target_weekday": rng.integers(1, 8, rows),
            "recent_units": rng.poisson(level[:, None], (rows, 14)).astype(np.float32).tolist(),
            "units": rng.poisson(level * (1 + 3 * signal)).astype(float),
        }
    )


def settings(threads: int = 1, **parameters: Any) -> FitSettings:
    return FitSettings(FEATURES, "units", QUANTILES.outputs, QUANTILES.levels, SMALL | parameters, threads=threads)


@pytest.mark.parametrize(("large_rows", "hidden", "read"), [(601, 8, PLAIN), (600, 12, FEATURES)])
def test_it_says_the_mean_of_trees_and_network(large_rows: int, hidden: int, read: tuple[str, ...]) -> None:
    """Of few rows a small network that reads no list, of many a wide one that does; 600 are here."""
    rows, later = planted(), planted(seed=1)
    size = {"network_hidden": 8, "large_network_hidden": 12, "large_rows": large_rows}
    said = train.fit(rows, settings(network_share=0.25, **size)).predict(later)
    bent = network.fit(rows, replace(settings(), features=read, parameters={"hidden": hidden})).predict(later)
    boosted = train.fit(rows, settings(network_share=0)).predict(later)
    assert_frame_equal(said, boosted * 0.75 + bent * 0.25, rel_tol=1e-12)
    assert (said != boosted).sum().sum_horizontal().item() > 0


def test_threads_change_no_byte() -> None:
    assert train.fit(planted(), settings(threads=2)).files() == train.fit(planted(), settings()).files()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match="network_share"):
        train.fit(planted(50), settings(network_share=share))


@pytest.mark.parametrize("wrong", ["learning_rat", "hidden"])
def test_a_misspelt_parameter_is_named(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{wrong} are unknown; known: .*network_share"):
        train.fit(planted(50), settings(**{wrong: 1}))


def test_a_label_of_one_value_trains() -> None:
    rows = planted().with_columns(units=pl.lit(0.0))
    assert train.fit(rows, settings()).predict(rows).to_numpy().max() == 0.0
