"""The command line: parse, call a command, print what went wrong. Nothing heavy is imported until a command runs."""
