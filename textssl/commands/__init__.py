"""One file a command: the function behind it, with the same name and arguments.

Printing and files live here, mathematics does not.
"""

from textssl.system import threads as threads  # first: while all else is imported, it sees how busy the machine is
