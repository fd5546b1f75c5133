"""Read configs from YAML with line numbers, merge them (later values win), and validate them."""
