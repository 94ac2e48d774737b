"""The one exception for mistakes in what the user gave."""


class UserError(ValueError):
    """Something the user wrote or pointed at is wrong.

    The message is one sentence for a person: what is wrong, where (file, line, key), and what would be right.
    The command line prints it without a traceback and exits with code 2.
    """
