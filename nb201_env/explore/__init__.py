"""The explorer: one HTML page with every cell of a table as a point."""
