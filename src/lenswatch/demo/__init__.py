"""Sample footage, drawn by code: a fixed underwater camera whose lens fouls.

>>> from datetime import UTC, datetime, timedelta
>>> clean = Footage(frames=2, start=datetime(2026, 6, 1, 8, tzinfo=UTC),
...                 interval=timedelta(minutes=2), size=(160, 90))
>>> draw_frame(clean, 1).size
(160, 90)
"""

from lenswatch.demo.footage import Footage, draw, draw_frame, draw_parallel

__all__ = ["Footage", "draw", "draw_frame", "draw_parallel"]
