"""Load pretrained networks, and read and write weights files."""

BUNDLED = "efficientnet-lite0"  # carried by the packages of the extra `offline`
