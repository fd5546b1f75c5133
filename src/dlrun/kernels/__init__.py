"""Fast paths that replace torch's own code on a CPU."""
