"""Solve L1-penalised logistic regressions for a sequence of penalties, and store the solutions."""
