"""A run's folder on disk: the only code that reads and writes in runs/. No torch."""
