"""Define the command line of dlrun: its commands, and how their errors become messages."""
