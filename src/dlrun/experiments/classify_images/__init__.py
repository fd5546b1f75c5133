"""Classify photographs by a pretrained ImageNet network (ISLP, lab 10.9.4)."""
