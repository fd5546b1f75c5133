"""What the commands around runs do, one module each."""
