"""`python -m lenswatch`: the lenswatch command."""

from lenswatch.cli.main import main

main()
