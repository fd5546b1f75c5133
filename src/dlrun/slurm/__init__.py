"""Submit runs to SLURM as jobs, execute them there, and wait for their end."""
