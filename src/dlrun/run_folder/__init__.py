"""A run's folder: the files in it, how they are written and read."""
