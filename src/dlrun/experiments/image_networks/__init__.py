"""Classify CIFAR100's images and the MNIST digits (ISLP, labs 10.9.3 and 10.9.2)."""
