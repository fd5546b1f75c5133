"""Runs that SLURM starts: what is asked of it, the jobs, waiting for them."""
