"""Classify texts with the lasso, an L1-penalised logistic regression (ISLP, lab 10.9.5)."""
