"""Define the networks of the experiments as the book writes them, and train and use them."""

BUNDLED = "efficientnet-lite0"  # carried by the packages of the extra `offline`
