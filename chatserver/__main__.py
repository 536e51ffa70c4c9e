"""`python -m chatserver` is the same as the command."""

from chatserver.cli import main

main()
