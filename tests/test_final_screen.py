"""What the demo's last screen says of the lines that it was given."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from platform_assets import final_screen
from resources.deployment import Settings

OUTCOME = {"ran": [], "untrained": {}, "weeks": [], "seconds": 1.0, "seconds_to_champion": 0.0, "peak_bytes": 1}


@pytest.mark.parametrize(
    ("aside", "told"),
    [
        (["duplicate"] * 15 + ["broken"], "lines:  1,234 accepted, 16 set aside: 15 duplicate, 1 broken (table {})"),
        (["b", "a"], "lines:  1,234 accepted, 2 set aside: 1 a, 1 b (table {})"),
        ([], "lines:  1,234 accepted, 0 set aside"),
    ],
)
def test_lines_set_aside_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aside: list[str], told: str) -> None:
    """Sixteen lines of a coffee shop were set aside, and no screen said so."""
    monkeypatch.setattr(final_screen, "known_models", list)
    settings = Settings.local(tmp_path, "shop")
    lines = pl.DataFrame({"day_on": [date(2024, 5, 1)] * (1234 + len(aside))})
    reasons = pl.DataFrame({"reason": pl.Series(aside, dtype=pl.String)})
    assert final_screen.final_screen(settings, dict(OUTCOME))[0]["lines"] is None  # there are none yet: it is no error
    settings.tables().write("shop/lines", lines)
    settings.tables().write("shop/quarantine", reasons, allow_empty=True)
    answer, text = final_screen.final_screen(settings, dict(OUTCOME))
    assert told.format(tmp_path / "tables" / "shop" / "quarantine") in text.splitlines()
    assert answer["lines"]["accepted"] == 1234
    assert sum(answer["lines"]["set_aside"].values()) == len(aside)
