"""Evidently's drift report of two Parquet files as one HTML page; run as a file, by an interpreter that has Evidently."""

import sys


def main(reference: str, current: str, page: str) -> None:
    """The preset's report, of all columns that both files have."""
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report  # pyright: ignore[reportMissingImports]
        from evidently.presets import DataDriftPreset  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit(3)
    before, now = pd.read_parquet(reference), pd.read_parquet(current)
    texts = [name for name in before.columns if not pd.api.types.is_numeric_dtype(before[name])]
    numbers = [name for name in before.columns if name not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    sides = [Dataset.from_pandas(rows, data_definition=definition) for rows in (now, before)]
    Report([DataDriftPreset()]).run(*sides).save_html(page)


if __name__ == "__main__":
    main(*sys.argv[1:])
