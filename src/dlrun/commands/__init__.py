"""Define the commands of dlrun with their options: one module per command."""
