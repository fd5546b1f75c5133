"""Configs: YAML text with positions, merged in layers and validated as one frozen object."""
