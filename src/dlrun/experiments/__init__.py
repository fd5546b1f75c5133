"""Define the base classes of experiments, the experiments of the book's lab, and saved runs."""
