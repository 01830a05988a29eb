"""`python -m earthloom` is the command line."""

from earthloom.cli import main

main()
