"""Use the machine: files, memory, cores, accelerators, signals and the terminal."""
