# SPDX-License-Identifier: Apache-2.0
"""What is written to the progress pipe."""

import json
import math
from typing import Any, Dict, Optional

_KIND_MAX = 63
_MESSAGE_MAX = 4095


def _clean(text: str) -> str:
    """Text that has a UTF-8 form: what has none (lone surrogates) becomes U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _cut(text: str, size: int) -> str:
    """At most size bytes of UTF-8, cut between characters."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")


def _encode(record: Dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def progress_record(fraction: Optional[float], message: Optional[str], data: Any) -> bytes:
    record: Dict[str, Any] = {}
    if fraction is not None and not math.isnan(fraction):
        record["fraction"] = round(min(max(float(fraction), 0.0), 1.0), 6)
    if message is not None:
        record["message"] = _clean(message)
    if data is not None:
        record["data"] = data
    return _encode(record)


def failure_record(kind: Optional[str], message: Optional[str]) -> bytes:
    record: Dict[str, Any] = {"taskiface": "fail"}
    if kind is not None:
        record["kind"] = _cut(_clean(kind), _KIND_MAX)
    if message is not None:
        record["message"] = _cut(_clean(message), _MESSAGE_MAX)
    return _encode(record)
