"""IMDB sentiment by the lasso, L1-penalised logistic regression over a path (ISLP, lab 10.9.5)."""
