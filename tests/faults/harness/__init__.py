# SPDX-License-Identifier: Apache-2.0
"""What the fault-injection scenarios are made of. It stands on tests/e2e/support."""

import logging
import os
import sys

FAULTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_e2e = os.path.join(os.path.dirname(FAULTS), "e2e")
if _e2e not in sys.path:
    sys.path.insert(0, _e2e)

# Connections are lost here all the time; that is no news.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
