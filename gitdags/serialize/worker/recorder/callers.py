"""Whose code is asking: the repository's own, or a library's?"""

from __future__ import annotations

import os
import types

_BETWEEN = (f"importlib{os.sep}__init__.py", f"{os.sep}os.py", "_collections_abc.py")
"""Files of the standard library that only hand a question on."""


def is_ours(frame: types.FrameType | None, root: str) -> bool:
    """Whether the nearest real file on the stack lies below ``root`` (with a separator at its end)."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file[:1] != "<" and not file.endswith(_BETWEEN):  # <frozen os>, <string>
            real = os.path.realpath(file)
            return real.startswith(root) and "site-packages" not in real
        frame = frame.f_back
    return False
