"""Classify photographs with a pretrained ImageNet network (ISLP, lab 10.9.4)."""
