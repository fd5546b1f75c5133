"""Many runs: which they are, how they share this machine, what came out."""
