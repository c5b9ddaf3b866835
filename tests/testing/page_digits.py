"""Digits as someone draws them: strokes of points, in shares of the canvas."""

import math


def _arc(x, y, rx, ry, begin, end, steps=14):
    """Points of an ellipse from angle to angle, in degrees, clockwise."""
    angles = [
        math.radians(begin + (end - begin) * step / steps)
        for step in range(steps + 1)
    ]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


DIGITS = {
    0: [_arc(0.5, 0.5, 0.19, 0.32, -90, 270)],
    1: [[(0.52, 0.16), (0.51, 0.4), (0.5, 0.6), (0.49, 0.84)]],
    2: [
        [
            *_arc(0.5, 0.34, 0.18, 0.17, -170, 40),
            (0.5, 0.62),
            (0.32, 0.82),
            (0.52, 0.82),
            (0.7, 0.82),
        ]
    ],
    3: [
        [
            *_arc(0.48, 0.33, 0.17, 0.16, -160, 80),
            *_arc(0.48, 0.66, 0.19, 0.18, -80, 160),
        ]
    ],
    4: [
        [(0.42, 0.16), (0.36, 0.36), (0.3, 0.56), (0.5, 0.56), (0.74, 0.54)],
        [(0.62, 0.34), (0.6, 0.56), (0.58, 0.86)],
    ],
    7: [[(0.3, 0.2), (0.5, 0.19), (0.7, 0.19), (0.58, 0.48), (0.46, 0.86)]],
}
