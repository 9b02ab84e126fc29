"""Asset metadata as the Dagster UI shows it."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg


def image(png: bytes) -> dg.MarkdownMetadataValue:
    """Return a PNG that the UI draws in place."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def image_svg(svg: str) -> dg.MarkdownMetadataValue:
    """Return an SVG that the UI draws in place; ``none`` where there is none."""
    drawn = svg.replace("currentColor", "#4c78a8")  # an image knows nothing of the page's colours
    text = f"![plot](data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()})"
    return dg.MetadataValue.md(text if svg else "none")


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows as a table; every row has the same keys."""
    return dg.MetadataValue.table([dg.TableRecord({key: plain(value) for key, value in row.items()}) for row in rows])


def columns(names_and_types: Mapping[str, str]) -> dg.TableSchema:
    """Return a table schema from column names and types."""
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in names_and_types.items()])


def plain(value: Any) -> Any:
    """Return ``value`` without NumPy scalars, which Dagster refuses at the end of a step, after all the work."""
    return value.item() if hasattr(value, "item") else value
