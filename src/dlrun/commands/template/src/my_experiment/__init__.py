"""An experiment for dlrun."""
