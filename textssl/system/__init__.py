"""What the operating system gives: files written whole or not at all, locks, signals, threads, processes, terminal."""
