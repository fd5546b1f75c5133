"""The command line: one command per file, each a few lines over a plain function. No torch here."""
