"""One run's life: from a config to a finished record, again after a stop, and used afterwards."""
