"""`python -m ikelab.lab`: the command line without its entry point's script."""

from ikelab.lab.cli import main

main()
