"""Classify IMDB reviews by a dense network on a sparse bag of words (ISLP, lab 10.9.5)."""
