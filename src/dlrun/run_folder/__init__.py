"""The files in the folder of a run: how they are written, read, found and removed."""
