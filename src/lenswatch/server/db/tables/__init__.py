"""The tables, by concept.

Moments are whole microseconds since 1970 in UTC: exact, comparable and indexable on every database.
"""

from lenswatch.server.db.tables.base import metadata
from lenswatch.server.db.tables.core import (
    api_keys,
    cursors,
    drift_tags,
    drifts,
    experiments,
    key_experiments,
    permissions,
    pictures,
    sessions,
    settings,
    tag_tallies,
    tallies,
    users,
)
from lenswatch.server.db.tables.feedback import (
    ANNOTATION_KINDS,
    VERDICTS,
    annotations_table,
    drift_feedback,
    event_feedback,
)
from lenswatch.server.db.tables.references import reference_pictures
from lenswatch.server.db.tables.rollups import rollups
from lenswatch.server.db.tables.upkeep import leases
from lenswatch.server.db.tables.watch import EVENT_KINDS, STATES, events, streams

__all__ = [
    "ANNOTATION_KINDS",
    "EVENT_KINDS",
    "STATES",
    "VERDICTS",
    "annotations_table",
    "api_keys",
    "cursors",
    "drift_feedback",
    "drift_tags",
    "drifts",
    "event_feedback",
    "events",
    "experiments",
    "key_experiments",
    "leases",
    "metadata",
    "permissions",
    "pictures",
    "reference_pictures",
    "rollups",
    "sessions",
    "settings",
    "streams",
    "tag_tallies",
    "tallies",
    "users",
]
