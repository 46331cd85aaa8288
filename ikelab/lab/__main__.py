"""The command line's first steps: `ikelab`, and `python -m ikelab.lab`."""

import signal


def main() -> None:
    """Load the command line and hand over to it.

    It takes half a second, in which nothing is made yet: Ctrl-C ends the process without a word.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ikelab.lab import cli

    cli.main()


if __name__ == "__main__":
    main()
