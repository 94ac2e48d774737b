"""One file a command: the only place where a configuration becomes objects.

Printing and files live here, mathematics does not.
"""
