"""Read configs from YAML with line numbers, merge them (later ones win), and validate them."""
