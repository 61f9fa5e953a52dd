"""The lens chart: cells of a picture compared with those of clean footage."""
