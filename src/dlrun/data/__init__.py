"""Read the data sets: one file per source of data, which returns arrays and needs no torch."""
