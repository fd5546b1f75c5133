"""Execute a run: check that it can begin, run the experiment, and write files and record."""
