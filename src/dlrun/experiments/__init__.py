"""Define what an experiment declares, and the lab's experiments."""
