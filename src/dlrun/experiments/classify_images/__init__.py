"""Photographs classified by a pretrained ImageNet network (ISLP, lab 10.9.4)."""
