"""Fields of one type."""

from feast import Field
from feast.types import FeastType


def fields(dtype: FeastType, *names: str) -> list[Field]:
    """A field of this type for each name."""
    return [Field(name=name, dtype=dtype) for name in names]
