"""Features: declarations compiled to one DuckDB query for history and for live."""
