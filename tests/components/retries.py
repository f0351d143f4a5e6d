"""Retries without their waits."""

import pytest

from platform_assets import policies


def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once, and what lasts is not tried again, as ever."""
    delay = policies.WhereItHelps.calculate_delay
    monkeypatch.setattr(policies.WhereItHelps, "calculate_delay", lambda self, number: 0 * delay(self, number))
