"""The command line as a program: `textssl`, and `python -m textssl`, which `torchrun -m textssl` needs."""

import os
import signal
import sys

from textssl.system.interrupts import ended_by_signals


def main() -> None:
    """Run the command line. Ctrl-C prints no traceback, neither during its import nor while the interpreter ends."""
    try:
        with ended_by_signals():
            search_current_folder()
            from textssl.cli.app import main as run

            run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def search_current_folder() -> None:
    """Let `objective.name=module:Class` name a module of the current folder, as `python -m textssl` does by itself.

    The folder comes last, so that no file there takes the place of an installed package.
    """
    try:
        here = os.getcwd()
    except OSError:  # the folder was removed
        return
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


if __name__ == "__main__":
    main()
