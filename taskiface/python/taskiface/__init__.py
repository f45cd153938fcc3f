# SPDX-License-Identifier: Apache-2.0
"""Through which a Python program that taskrunner runs talks to its pipes.

    import taskiface

    with taskiface.Task() as task:
        words = task.input(timeout=30).split()
        for i, word in enumerate(words):
            task.progress(i / len(words), "counting")
        task.output_json({"words": len(words)})

It needs the standard library only. docs/taskiface.md describes the pipes themselves; the C library
libtaskiface has the same abilities under similar names.
"""

from ._pipes import Cancelled
from ._task import FOREVER, RECORD_MAX, Task

__all__ = ["Cancelled", "FOREVER", "RECORD_MAX", "Task"]
__version__ = "0.1.0"
