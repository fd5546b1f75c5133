"""Read data sets as numpy arrays, without torch: download, decode, cache and split them."""
