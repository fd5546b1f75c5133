"""Read tables as people have them, and encode their columns as the numbers that models read."""
