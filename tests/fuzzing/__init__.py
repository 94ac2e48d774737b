"""Random inputs for readers, configurations and command lines, shared by the tests and by `scripts/verify.sh fuzz`."""
