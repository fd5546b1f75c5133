"""Define the command line of dlrun, and report the errors of its commands."""
