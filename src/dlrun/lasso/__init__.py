"""Solve the L1-penalised logistic regression over a path of penalties, and store the solutions."""
