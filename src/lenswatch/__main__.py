"""`python -m lenswatch`: the lenswatch command."""

from lenswatch.cli import main

main()
