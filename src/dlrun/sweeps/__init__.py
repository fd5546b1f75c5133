"""Run an experiment many times over a search space, on this machine or on SLURM."""
