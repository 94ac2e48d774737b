"""The command line as a program: `textssl`, and `python -m textssl`, which `torchrun -m textssl` needs."""

from textssl.interrupts import ended_by_signals


def main() -> None:
    with ended_by_signals():  # before the command line is imported, so that Ctrl-C then is no traceback
        from textssl.cli import main as run

        run()


if __name__ == "__main__":
    main()
