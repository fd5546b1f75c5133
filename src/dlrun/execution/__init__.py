"""Execute a run: its checks, its life, its recorder."""
