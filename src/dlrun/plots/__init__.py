"""Draw figures: tables and records in, a matplotlib Figure out. No file is read or written."""
