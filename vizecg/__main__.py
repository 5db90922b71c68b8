"""`python -m vizecg`: the command line."""

from vizecg.cli import main

main()
