"""Classify IMDB reviews with a dense network on sparse bags of words (ISLP, lab 10.9.5)."""
