"""One file a command: the function behind it, with the same name and arguments.

Printing and files live here, mathematics does not.
"""
