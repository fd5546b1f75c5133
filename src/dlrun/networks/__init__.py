"""Networks, and files of their weights."""
