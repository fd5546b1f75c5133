"""Reproduce the published numbers: run experiments over seeds, compare, write one page."""
