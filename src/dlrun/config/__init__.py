"""Configs: YAML text with positions -> layers -> one frozen, valid object. A leaf: no torch."""
