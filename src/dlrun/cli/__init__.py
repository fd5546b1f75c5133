"""The command line: each command has options and calls one function that does the work."""
