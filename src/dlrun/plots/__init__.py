"""Figures: tables and records in, a matplotlib Figure out. Nothing is read or written here."""
