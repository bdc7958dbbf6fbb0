"""Numbers for people."""

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2


def count(number: float) -> str:
    """11 300 000 is ``11.3 M``."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:g}"


def size(number: float) -> str:
    """Bytes with the unit that suits them."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number:g} B"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            return f"{whole // large} {names[0]} {whole % large // small} {names[1]}"
    return f"{whole} s"


def steps(number: int) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} step" if number == 1 else f"{number} steps"


def since(moment: timestamp_pb2.Timestamp, now: datetime | None = None) -> str:
    """How long ago; empty if never."""
    if not moment.seconds:
        return ""
    return duration(max(0.0, ((now or datetime.now(UTC)) - moment.ToDatetime(tzinfo=UTC)).total_seconds()))


def interval(value: float, low: float, high: float) -> str:
    """A share with its confidence interval, in per cent."""
    return f"{100 * value:.1f} % ({100 * low:.1f} – {100 * high:.1f})"
