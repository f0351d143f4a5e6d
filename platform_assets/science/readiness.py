"""Whether there is enough history to train a model and to judge it, said before anything is computed."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from platform_assets.errors import EmptyFrameError
from platform_assets.science.splits import Origin

WEEK_DAYS: Final = 7  # of labels at least: every weekday once


def check_history(model: str, first_on: date, origins: Sequence[Origin], *, label_days: int) -> None:
    """Nothing, if a week of labels and the days that the first of them spans lie before the evaluation window.

    `first_on`: first day of the first known period; `origins`: ascending; `label_days`: of the shortest label.
    Raises: EmptyFrameError with what is needed, what was found and what would do.
    """
    period_days, window = origins[0].period_days, (origins[-1].last_target_on - origins[0].issued_on).days
    needed = label_days + WEEK_DAYS
    found = (origins[0].issued_on - first_on).days + period_days
    if found >= needed:
        return
    step, whole = window // len(origins), found + window
    possible = (whole - needed) // step
    settings = f"platform_assets/defs/models/{model}/defs.yaml"
    raise EmptyFrameError(
        f"{model}/training_set: needs {needed} days of history before the evaluation window of {window} days "
        f"({len(origins)} origins), found {max(found, 0)}: sales span {whole} days, from {first_on} on",
        hint=f"`origins: {possible}` in {settings} would do; or more history"
        if possible >= 1
        else f"{needed + step - whole} more days would do with `origins: 1` in {settings}; or a shorter `horizon_days`",
    )
