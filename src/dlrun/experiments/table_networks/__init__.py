"""Train networks on the rows of a table (ISLP, labs 10.9.1 and 10.9.6)."""
