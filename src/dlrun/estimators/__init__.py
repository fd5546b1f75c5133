"""Fit tables and texts without a network: least squares, lassos, boosted trees (ISLP, 10.9)."""
