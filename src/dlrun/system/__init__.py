"""What the machine, the terminal and the file system give."""
