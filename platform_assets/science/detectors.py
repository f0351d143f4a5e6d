"""When a daily signal has changed: cumulative sums, Page-Hinkley, adaptive windows; each as a path of its statistic.

A detector alarms on the first day on which its statistic exceeds a limit. Values that are NaN are days without an
observation: they are passed over, and the statistic stays.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALLOWANCE: Final = 0.5  # standard deviations that a cumulative sum gives away each day: half of the change looked for
FADING: Final = 1 - 0.0001  # of Page-Hinkley's sums, a day
LEAST_DAYS: Final = 30  # before Page-Hinkley says anything
LEAST_PART: Final = 5  # days on either side of a cut of an adaptive window
LEAST_WINDOW: Final = 10  # days before an adaptive window is cut


def cusum(values: Floats, *, allowance: float = ALLOWANCE) -> Floats:
    """Two-sided cumulative sum of standardised values: the greater of the upward and the downward one, day by day.

    Shape: (n,) to (n,). Source: Page (1954), Continuous inspection schemes, Biometrika 41.
    """
    up = down = 0.0
    path = np.zeros(values.size)
    for day, value in enumerate(values):
        if not np.isnan(value):
            up, down = max(0.0, up + value - allowance), max(0.0, down - value - allowance)
        path[day] = max(up, down)
    return path


def page_hinkley(values: Floats, *, allowance: float = ALLOWANCE) -> Floats:
    """Page-Hinkley's statistic for a change of the mean in either direction, day by day; 0 in the first LEAST_DAYS.

    The mean is that of all days so far: there is no reference, the first weeks are.
    Shape: (n,) to (n,). Source: Mouss et al. (2004), Test of Page-Hinkley, an approach for fault detection.
    """
    mean = rising = falling = 0.0
    lowest, highest = float("inf"), -1.0
    seen = 0
    path = np.zeros(values.size)
    for day, value in enumerate(values):
        if not np.isnan(value):
            seen += 1
            mean += (value - mean) / seen
            rising = FADING * rising + (value - mean) - allowance
            falling = FADING * falling + (value - mean) + allowance
            lowest, highest = min(lowest, rising), max(highest, falling)
        if seen >= LEAST_DAYS:
            path[day] = max(rising - lowest, highest - falling)
    return path


def adwin(values: Floats) -> Floats:
    """Minus the logarithm of the smallest confidence parameter at which an adaptive window would be cut, day by day.

    The window holds all days so far, and every cut with LEAST_PART days on either side is tried; an alarm at the
    parameter delta is a statistic above -ln(delta), and what comes after a first alarm belongs to a new window.
    Shape: (n,) to (n,). Source: Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing,
    eq. 3.1, solved for delta.
    """
    path = np.zeros(values.size)
    known: list[float] = []
    for day, value in enumerate(values):
        if not np.isnan(value):
            known.append(value)
        count = len(known)
        if count < max(LEAST_WINDOW, 2 * LEAST_PART):
            continue
        window = np.array(known)
        total = np.cumsum(window)
        first = np.arange(LEAST_PART, count - LEAST_PART + 1)
        second = count - first
        gap = np.abs(total[first - 1] / first - (total[-1] - total[first - 1]) / second)
        harmonic = 1.0 / (1.0 / (first - LEAST_PART + 1) + 1.0 / (second - LEAST_PART + 1))
        # gap = sqrt(2 v r / m) + 2 r / (3 m) with r = ln(2 ln n / delta): a quadratic equation in sqrt(r)
        slope, square = np.sqrt(2.0 / harmonic * window.var()), 2.0 / (3.0 * harmonic)
        root = (np.sqrt(slope**2 + 4 * square * gap) - slope) / (2 * square)
        path[day] = max(0.0, float((root**2).max()) - float(np.log(2 * np.log(count))))
    return path


def first_alarm(path: Floats, limit: float) -> int | None:
    """Number of the first day on which the statistic exceeds the limit; None where it never does."""
    beyond = np.flatnonzero(path > limit)
    return int(beyond[0]) if beyond.size else None
