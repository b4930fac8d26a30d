"""The table format: reading, writing, checking, joining and exporting tables."""
