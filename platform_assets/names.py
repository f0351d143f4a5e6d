"""The one place for names: asset keys, groups, tables, tags and columns."""

from typing import Final

SALES: Final = "sales"
PLANS: Final = "plans"

GROUP_DATA: Final = "data"
GROUP_FEATURES: Final = "features"
GROUP_REPORTS: Final = "reports"
SERVICE: Final = "service"  # stage of a model that answers, outside the graph: it reports what it measures of itself

TAG_REASON: Final = "perennial/reason"
TAG_CAUSE: Final = "perennial/cause"
TAG_MODEL: Final = "perennial/model"
TAG_TRAIN_ON: Final = "perennial/train_on"

# Columns that every table of the platform shares.
SERIES_ID: Final = "series_id"
PERIOD_ON: Final = "period_on"
TARGET_ON: Final = "target_on"
TARGET_DAY: Final = "target_day"
ISSUED_AT: Final = "issued_at"
HORIZON: Final = "horizon_days"
EVENT_AT: Final = "event_at"
KNOWN_AT: Final = "known_at"
UNITS: Final = "units"


def lines_key(source: str) -> list[str]:
    """Asset key of a source's lines as they came."""
    return [source, "lines"]


def quarantine_key(source: str) -> list[str]:
    """Asset key of the lines that were set aside, with the reason."""
    return [source, "quarantine"]


def view_key(view: str) -> list[str]:
    """Asset key of a feature view's offline table."""
    return ["features", view]


def online_key(view: str) -> list[str]:
    """Asset key of a feature view's load into the online store."""
    return ["online", view]


def service_key(service: str) -> list[str]:
    """Asset key of a feature service."""
    return ["services", service]


def model_key(model: str, stage: str) -> list[str]:
    """Asset key of one stage of a model's life, such as `training_set` or `champion`."""
    return [model, stage]


def table_name(key: list[str]) -> str:
    """Table that an asset key is stored in; slashes are folders."""
    return "/".join(key)


def retraining_job(model: str) -> str:
    """Name of the job that retrains a model."""
    return f"retrain_{model}"
