"""Classify IMDB reviews with an LSTM that reads the last words of each (ISLP, lab 10.9.6)."""
