"""Classify IMDB reviews by an LSTM on the last words of each (ISLP, lab 10.9.6)."""
