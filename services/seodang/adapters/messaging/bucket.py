"""A token bucket: how often something may be done, with short bursts."""

from dataclasses import dataclass


@dataclass
class TokenBucket:
    """Holds at most ``burst`` tokens and gains ``per_s`` a second; moments are seconds of any one clock."""

    per_s: float
    burst: int
    _tokens: float = 0.0
    _at_s: float | None = None

    def take(self, now_s: float) -> float:
        """Takes a token, perhaps one of the future; says how many seconds to wait until it is there."""
        self._fill(now_s)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.per_s)

    def pause(self, now_s: float, for_s: float) -> None:
        """Holds back everything for a while: whoever is on the other side said so."""
        self._fill(now_s)
        self._tokens = min(self._tokens, 1 - for_s * self.per_s)

    def is_full(self, now_s: float) -> bool:
        """Whether it is as good as a new one."""
        self._fill(now_s)
        return self._tokens >= self.burst

    def _fill(self, now_s: float) -> None:
        if self._at_s is None:
            self._tokens = float(self.burst)
        else:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
