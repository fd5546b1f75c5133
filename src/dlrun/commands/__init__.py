"""The work of the commands about runs, data and packages: one module per command."""
