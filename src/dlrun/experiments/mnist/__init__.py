"""Classify the MNIST digits with a dense network, and linearly (ISLP, lab 10.9.2)."""
