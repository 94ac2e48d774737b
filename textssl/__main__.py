"""`python -m textssl` is the command line, which `torchrun -m textssl` needs."""

from textssl.cli import main

if __name__ == "__main__":
    main()
