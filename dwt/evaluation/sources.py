"""Benchmark data from parquet files or from the hub, checked."""

from pathlib import Path

import pandas as pd
import pyarrow as pa


class BenchmarkError(ValueError):
    """A benchmark cannot be read or is malformed; the message names the source and the remedy."""


def read_parquet(file: Path, setting: str) -> pd.DataFrame:
    """Read a parquet file that `setting` names in params.yaml."""
    try:
        return pd.read_parquet(file)
    except FileNotFoundError:
        raise BenchmarkError(f"{setting}: {file} does not exist") from None
    except (OSError, pa.ArrowException) as error:
        raise BenchmarkError(
            f"{setting}: {file} is not a valid parquet file ({error}); fetch it again"
        ) from None


def read_hub(name: str, config: str | None, split: str, setting: str, local: str) -> pd.DataFrame:
    """A split of a hub dataset, of all configurations for None; `local` files can replace it."""
    import datasets  # here, as local files do not need it

    try:
        configs = [config] if config else datasets.get_dataset_config_names(name)
        parts = [datasets.load_dataset(name, one, split=split).to_pandas() for one in configs]
        return pd.concat(parts, ignore_index=True)
    except Exception as error:  # whatever the hub or the network raises
        raise BenchmarkError(
            f"{setting}: {name!r} is not a local path, and as a hub dataset its "
            f"{config or 'configurations'}, split {split}, could not be loaded "
            f"({type(error).__name__}: {error}). Check the name; without a network give {local}"
        ) from error


def check_columns(rows: pd.DataFrame, columns: list[str], source: str) -> pd.DataFrame:
    """The columns of some rows, refused if one is absent or has missing values, or without rows."""
    if absent := [column for column in columns if column not in rows]:
        raise BenchmarkError(
            f"{source}: no column {', '.join(absent)}; needed are {', '.join(columns)}, "
            f"present are {', '.join(rows)}"
        )
    if rows.empty:
        raise BenchmarkError(f"{source}: no rows; fetch it again")
    for name, empty in rows[columns].isna().sum().items():
        if empty:
            raise BenchmarkError(f"{source}: column {name}: {empty} of {len(rows)} rows are empty")
    return rows[columns]
