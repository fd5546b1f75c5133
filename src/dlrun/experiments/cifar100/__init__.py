"""Classify CIFAR100's images with the lab's convolutional network (ISLP, lab 10.9.3)."""
