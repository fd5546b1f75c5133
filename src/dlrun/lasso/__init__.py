"""Solve the lasso path: logistic regressions with an L1 penalty, at a sequence of penalties."""
