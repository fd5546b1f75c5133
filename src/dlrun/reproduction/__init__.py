"""Reproduce published numbers: run experiments with several seeds, compare, write one HTML page."""
