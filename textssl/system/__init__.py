"""What the operating system provides: files written whole or not at all, locks, signals, threads, processes, terminal."""
