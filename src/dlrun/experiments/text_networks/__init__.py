"""Classify IMDB reviews with a dense network and with an LSTM (ISLP, labs 10.9.5 and 10.9.6)."""
