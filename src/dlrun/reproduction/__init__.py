"""The published numbers beside this machine's: runs over seeds, verdicts, one page."""
