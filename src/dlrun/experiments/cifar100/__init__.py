"""Classify CIFAR100's images by the lab's convolutional network (ISLP, lab 10.9.3)."""
