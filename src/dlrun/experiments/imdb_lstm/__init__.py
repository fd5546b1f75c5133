"""IMDB sentiment by an LSTM on the last words of each review (ISLP, lab 10.9.6)."""
