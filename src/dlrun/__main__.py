"""`python -m dlrun` is `dlrun`."""

from dlrun.cli.main import main

main()
