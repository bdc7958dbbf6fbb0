"""How sure a share is."""

import math

Z_95 = 1.959963984540054


def wilson_interval(share: float, count: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a share that was seen in ``count`` trials (Wilson, 1927).

    For a mean of scores between 0 and 1 it is conservative: no such scores vary more than yes and no do.
    """
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
