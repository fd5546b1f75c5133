"""The data sets: one file per source of data, arrays out; nothing here needs torch to import."""
