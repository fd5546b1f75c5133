"""An example experiment for dlrun."""
