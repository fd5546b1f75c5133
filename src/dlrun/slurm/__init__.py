"""Submit runs to SLURM as jobs through submitit, execute them there, and wait for their end."""
