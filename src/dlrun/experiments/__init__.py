"""The lab's experiments: a declaration per file, named by an entry point; nothing imports them."""
