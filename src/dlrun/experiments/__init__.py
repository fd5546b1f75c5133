"""Define the base classes of experiments, the experiments of ISLP's lab, and saved runs."""
