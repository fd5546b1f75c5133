"""Write the HTML report of runs, one page that works offline."""
