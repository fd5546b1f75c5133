"""What is done around single runs: all of them once, an epoch on each device, the data."""
