"""Values as JSON for other programs; infinite numbers are text."""

import json
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from bnexp.text import CONTROLS


def dump(content: Any) -> str:
    """The JSON text of dictionaries, lists, numbers, text and times. Control characters are written out."""
    text = json.dumps(_jsonable(content), indent=2, ensure_ascii=False, default=str) + "\n"
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # they stand in strings only


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Decimal):  # of PostgreSQL's sums and means
        return int(value) if value.as_tuple().exponent == 0 else _jsonable(float(value))
    return value.isoformat() if isinstance(value, datetime) else value
