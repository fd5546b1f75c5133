"""Draw matplotlib figures from tables and records, without reading or writing files."""
