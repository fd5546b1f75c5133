"""Fit a table by least squares or the lasso, without a network (ISLP, labs 10.9.1 and 10.9.6)."""
