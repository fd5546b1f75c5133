"""The command line: each command calls the plain function that does its work."""
