"""The HTML report of runs, one page that works offline: sections, charts, templates."""
