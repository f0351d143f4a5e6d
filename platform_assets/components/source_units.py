"""Which column of a sample is what was sold, or the question that only its owner can answer."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from platform_assets.components.source_dates import filled, misfit_of_number
from platform_assets.components.source_series import is_index
from platform_assets.components.source_words import GUESSES, MEASURED, UNSURE, folded, is_counted, is_money, words
from platform_assets.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

NUMBERS = {"integer", "number"}
LIKELY = 0.5  # of the cells of a column that is named like units; so many are numbers where the rest is a mistake


def units_by_name(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> str | None:
    """The column that is named like a number of units, in the order of our spellings; None where none or several are."""
    numbers = [name for name in free if kinds[name] in NUMBERS and is_counted(name)]
    known = {folded(name): name for name in reversed(numbers)}
    exact = next((known[word] for word in GUESSES["units"] if word in known), None)
    return exact or (numbers[0] if len(numbers) == 1 else None)


def units_by_values(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> str | None:
    """The one column of whole numbers that can be units; None where there are several, or sales that may be money."""
    numbers = _candidates(raw, kinds, free)
    sales = [name for name in numbers if words(name) & UNSURE]
    whole = [name for name in numbers if kinds[name] == "integer"]
    named = [name for name in sales if kinds[name] == "integer"]
    if len(named) == 1:
        return named[0]
    return whole[0] if len(whole) == 1 and not sales else None


def ask_for_units(
    file: str, raw: "pl.DataFrame", kinds: Mapping[str, str], series: Sequence[str], shown: str
) -> SchemaError:
    """The question, likeliest column first; rows that spoil a column of numbers are named instead."""
    free = [name for name in raw.columns if name not in series]
    likely = _candidates(raw, kinds, free)
    likely.sort(key=lambda name: not words(name) & UNSURE)
    money = [name for name in free if kinds[name] in NUMBERS and is_money(name) and not is_counted(name)]
    for name in free if not likely else [name for name in free if is_counted(name)]:
        found = misfit_of_number(raw[name], 0.0 if is_counted(name) else LIKELY) if kinds[name] == "text" else None
        if found is not None:
            return SchemaError(
                f"{file}: {found}",
                hint="delete rows that are none; a decimal point is read, a decimal comma, a separator of thousands and units "
                "such as `3 pcs` are not",
            )
    if likely:
        listed = ", ".join(f"`{name}`" for name in likely)
        unsure = ", ".join(f"`{name}`" for name in likely if words(name) & UNSURE)
        doubt = f" ({unsure} may be an amount of money)" if unsure else ""
        offer = f"one of {listed}{doubt}" if len(likely) > 1 else f"perhaps {listed}{doubt}"
        return SchemaError(
            f"{file}: which column is what was sold? {offer}; columns: {shown}",
            hint=f"say it with --units, such as --units {json.dumps(likely[0])}; what is forecast is that column, units or money",
        )
    if money:
        listed = ", ".join(f"`{name}`" for name in money)
        return SchemaError(
            f"{file}: which column is what was sold? {listed} looks like money, and no other is a number; columns: {shown}",
            hint="where each line is one sale of one, add a column `quantity` of ones; "
            f"to forecast an amount of money, say --units {json.dumps(money[0])}",
        )
    return SchemaError(
        f"{file}: which column is what was sold? None is a number of units; columns: {shown}",
        hint="where each line is one sale of one, add a column `quantity` of ones; a decimal point is read, a decimal comma and "
        "units such as `3 pcs` are not",
    )


def _candidates(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> list[str]:
    """Numbers that may be units: no flag, no constant, no count of rows, no money, no measure of something else."""
    return [
        name
        for name in free
        if kinds[name] in NUMBERS
        and not is_index(raw, name)
        and not _is_flag(raw[name])
        and not is_money(name)
        and not words(name) & MEASURED
    ]


def _is_flag(cells: "pl.Series") -> bool:
    """Whether a column has one value, or only 0 and 1."""
    import polars as pl

    values = filled(cells).unique()
    return len(values) < 2 or set(values.cast(pl.Float64, strict=False).to_list()) <= {0.0, 1.0}
