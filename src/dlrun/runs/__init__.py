"""Write, read, find and remove the files in the folder of a run."""
