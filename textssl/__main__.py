"""The command line as a program: `textssl`, and `python -m textssl`, which `torchrun -m textssl` needs."""

import signal

from textssl.system.interrupts import ended_by_signals


def main() -> None:
    """Run the command line. Ctrl-C is no traceback while it is imported, nor while the interpreter ends."""
    try:
        with ended_by_signals():
            from textssl.cli.app import main as run

            run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
