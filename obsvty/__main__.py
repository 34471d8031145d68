"""`python -m obsvty`."""

from obsvty.cli import main

main()
