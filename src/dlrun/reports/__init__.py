"""Write the HTML report of runs: a single page that works offline."""
