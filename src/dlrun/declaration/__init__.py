"""What an experiment declares, and how experiments are found. All other code asks these."""
