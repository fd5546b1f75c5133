"""Read configs from YAML with line numbers, merge them in layers, and validate them."""
