"""Market data: sources, the Parquet bar store, file import."""
