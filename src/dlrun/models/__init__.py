"""Networks and solvers. They import nothing of dlrun, and take arrays or tensors."""
