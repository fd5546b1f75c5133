"""Reproduce the published numbers of the book ISLP: a sweep for each experiment, and a page."""
