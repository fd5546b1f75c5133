"""Start, resume and record runs, in one process or in several."""
