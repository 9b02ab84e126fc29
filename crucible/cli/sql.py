"""``crucible sql``: every stored dataset as a DuckDB view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click


@click.command()
@click.argument("query", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, times as ISO 8601.")
def sql(query: str | None, as_json: bool) -> None:
    """Run QUERY, or list the views if there is none.

    Example: crucible sql "SELECT symbol, count(*) FROM bars GROUP BY 1"
    """
    import duckdb

    from crucible.errors import DataError
    from crucible.settings import Settings

    settings = Settings.load()
    with duckdb.connect(":memory:") as connection:
        views = []
        for name, files in _datasets(settings.bars, settings.features, settings.evaluations):
            connection.from_parquet(
                [str(file) for file in files], hive_partitioning=True, union_by_name=True
            ).create_view(name)
            views.append(name)
        if not views:
            raise DataError(f"Nothing is stored below {settings.data}; try `crucible bars backfill btc_usd_5min`.")
        try:
            result = connection.sql(query or "SELECT view_name, column_count FROM duckdb_views() WHERE NOT internal")
        except duckdb.Error as error:
            raise DataError(f"{str(error).splitlines()[0]} (views: {', '.join(views)})") from error
        if as_json:
            rows = result.to_arrow_table().to_pylist() if result else []
            click.echo(json.dumps(rows, indent=2, default=_plain))
            return
        click.echo(str(result or "done"))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _datasets(bars: Path, features: Path, evaluations: Path) -> Iterator[tuple[str, list[Path]]]:
    if files := sorted(bars.glob("source=*/**/bars.parquet")):
        yield "bars", files
    for folder in sorted(features.glob("*")):
        if files := sorted(folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime):
            yield f"features_{folder.name}", files[-1:]
    for folder in sorted(evaluations.glob("*")):
        if files := sorted(folder.glob("*/predictions.parquet"), key=lambda file: file.stat().st_mtime):
            yield f"predictions_{folder.name}", files[-1:]
