"""The HTML page of runs: sections, charts, templates."""
