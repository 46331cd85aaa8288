"""`python -m ikelab.lab.script FILE [ARGUMENT]...`: a script, as `./netns/lab python` runs it.

What the machine or the lab does not allow ends as a command of `ikelab` does: one message with what
would help, exit code 3. Everything else is the script's own and keeps its traceback, exit code 1.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

from ikelab.errors import LabError
from ikelab.lab.cli import CHECK_FAILED, ENVIRONMENT, USAGE, tell


def run_script(file: str) -> int:
    """Run a file as Python's main program; the exit code."""
    if not Path(file).is_file():
        tell(f"there is no script {file}\n  `netns/scripts` has some to begin with")
        return USAGE
    sys.path[0] = str(Path(file).resolve().parent)  # as `python FILE` has it
    try:
        runpy.run_path(file, run_name="__main__")
    except LabError as error:
        tell(f"{error}\n  {_place(file, error)}")
        return ENVIRONMENT
    except Exception as error:
        own = _own(file, error)
        sys.excepthook(type(error), error.with_traceback(own), own)
        return CHECK_FAILED
    return 0


def _own(file: str, error: BaseException) -> TracebackType | None:
    """The traceback from the script's first line on; None where it did not come so far."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


def _place(file: str, error: BaseException) -> str:
    """The last line of the script on the way to an error."""
    lines = [at for frame, at in walk_tb(_own(file, error)) if frame.f_code.co_filename == file]
    return f"{file}, line {lines[-1]}"


if __name__ == "__main__":
    del sys.argv[0]
    sys.exit(run_script(sys.argv[0]))
