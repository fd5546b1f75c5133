"""The L1-penalised logistic regression: problem, solver, path, storage."""
