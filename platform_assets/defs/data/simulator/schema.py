"""Contract of the simulated retailer's lines: types are demanded of the file, values of each line."""

import pandera.polars as pa
import polars as pl


class Lines(pa.DataFrameModel):
    """One store, product and local day."""

    store: str = pa.Field(str_matches=r"^store_\d+$")
    sku: str = pa.Field(str_matches=r"^sku_\d+$")
    sold_on: pl.Date
    units: int = pa.Field(le=1_000_000)
    price: float = pa.Field(le=10_000)
    is_promoted: bool
    stock: int = pa.Field(ge=0)
    lines: int = pa.Field(ge=0)
    tickets: int = pa.Field(ge=0)

    class Config:  # pyright: ignore[reportIncompatibleVariableOverride]
        strict = True
