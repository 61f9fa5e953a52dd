"""Sample footage, drawn by code: a fixed underwater camera whose lens fouls.

>>> from datetime import UTC, datetime, timedelta
>>> footage = Footage(2, datetime(2026, 6, 1, tzinfo=UTC), timedelta(hours=1), size=(160, 90))
>>> draw_frame(footage, 1).size
(160, 90)
"""

from lenswatch.demo.footage import Footage, draw, draw_frame, draw_parallel

__all__ = ["Footage", "draw", "draw_frame", "draw_parallel"]
