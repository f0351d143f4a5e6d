"""Too little history is told in days, with what would do; what would do does."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import EmptyFrameError
from platform_assets.science.readiness import check_history
from platform_assets.science.splits import rolling_origins

FIRST = date(2024, 1, 1)


def check(days: int, *, origins: int = 3, horizon_days: int = 28, period_days: int = 1, label_days: int = 1) -> None:
    last = FIRST + timedelta(days=days - period_days)
    check_history(
        "demand", FIRST, rolling_origins(last, origins, horizon_days, period_days=period_days), label_days=label_days
    )


@pytest.mark.parametrize(
    ("days", "options", "said"),
    [
        (92, {}, None),  # 84 judged, a week of labels one day ahead before them
        (91, {}, r"needs 8 days .* window of 84 days \(3 origins\), found 7: sales span 91 days.*`origins: 2` in"),
        (60, {}, r"needs 8 days .* found 0: sales span 60 days.*`origins: 1` in"),
        (
            35,
            {},
            r"needs .* found 0: sales span 35 days.*1 more days would do with `origins: 1`.*shorter `horizon_days`",
        ),
        (60, {"origins": 12, "horizon_days": 7, "label_days": 7}, r"needs 14 days .*`origins: 6` in .*models/demand/"),
        (98, {"origins": 12, "horizon_days": 7, "label_days": 7}, None),
        (98, {"period_days": 7, "label_days": 7}, None),
        (91, {"period_days": 7, "label_days": 7}, r"needs 14 days .* found 7: sales span 91 days"),
    ],
)
def test_the_message_counts_days_and_says_what_would_do(days: int, options: dict[str, int], said: str | None) -> None:
    if said is None:
        check(days, **options)
    else:
        with pytest.raises(EmptyFrameError, match=r"(?s)demand/training_set: " + said):
            check(days, **options)


@given(st.integers(8, 400), st.integers(1, 24), st.sampled_from([7, 14, 28]), st.booleans())
def test_what_would_do_does(days: int, origins: int, horizon_days: int, is_whole: bool) -> None:
    label_days = horizon_days if is_whole else 1
    hint = _refusal(days, origins=origins, horizon_days=horizon_days, label_days=label_days)
    if hint is None:
        return
    if "more days" in hint:
        more = int(hint.split()[0])
        assert _refusal(days + more, origins=1, horizon_days=horizon_days, label_days=label_days) is None
        assert _refusal(days + more - 1, origins=1, horizon_days=horizon_days, label_days=label_days)
    else:
        possible = int(hint.split("`")[1].removeprefix("origins: "))
        assert 1 <= possible < origins
        assert _refusal(days, origins=possible, horizon_days=horizon_days, label_days=label_days) is None
        assert _refusal(days, origins=possible + 1, horizon_days=horizon_days, label_days=label_days)


def _refusal(days: int, **options: int) -> str | None:
    try:
        check(days, **options)
    except EmptyFrameError as error:
        return error.hint
    return None
