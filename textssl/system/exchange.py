"""Two names in a file system change places in one step, so that at every moment both lead to something whole."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
HERE = -100  # AT_FDCWD: paths are resolved as usual
UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}  # to this kernel, or to this file system


def exchange(first: Path, second: Path) -> bool:
    """Exchange two files or folders; False, with nothing changed, where this is not supported. Raises OSError."""
    rename = renameat2()
    if rename is None:
        return False
    code = rename(os.fsencode(first), os.fsencode(second))
    if code in UNKNOWN:
        return False
    if code:
        raise OSError(code, os.strerror(code), str(first), None, str(second))
    return True


@functools.cache
def renameat2() -> Callable[[bytes, bytes], int] | None:
    """The system call, which returns an error number or 0; None where the C library has no such function."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return lambda first, second: ctypes.get_errno() if call(HERE, first, HERE, second, EXCHANGE) else 0
