"""Contract of the retailer's lines: types are demanded of the file, values of each line."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

COUNTRIES = (
    "Australia", "Austria", "Bahrain", "Belgium", "Bermuda", "Brazil", "Canada", "Channel Islands", "Cyprus", "Czech Republic",
    "Denmark", "EIRE", "European Community", "Finland", "France", "Germany", "Greece", "Hong Kong", "Iceland", "Israel", "Italy",
    "Japan", "Korea", "Lebanon", "Lithuania", "Malta", "Netherlands", "Nigeria", "Norway", "Poland", "Portugal", "RSA", "Saudi Arabia",
    "Singapore", "Spain", "Sweden", "Switzerland", "Thailand", "USA", "United Arab Emirates", "United Kingdom", "Unspecified",
    "West Indies",
)  # fmt: skip


class Lines(pa.DataFrameModel):
    """One line of an invoice; `ts` is local time without a zone."""

    invoice: str = pa.Field(str_matches=r"^[AC]?\d{6}$")
    stock_code: str = pa.Field(str_length={"min_value": 1, "max_value": 20})
    description: str = pa.Field(nullable=True)
    quantity: int = pa.Field(ge=-1_000_000, le=1_000_000)
    ts: Annotated[pl.Datetime, "us", None]
    price: float = pa.Field(ge=-1_000_000, le=1_000_000)
    customer_id: int = pa.Field(nullable=True, ge=10_000, le=99_999)
    country: str = pa.Field(isin=COUNTRIES)

    class Config:  # pyright: ignore[reportIncompatibleVariableOverride]
        strict = True
