"""The tables, by concept.

Moments are whole microseconds since 1970 in UTC: exact, comparable and indexable on every database.
"""

from lenswatch.server.db.tables.alerts import (
    CHANNEL_KINDS,
    DELIVERY_STATES,
    channels,
    deliveries,
    messages,
    rule_channels,
    rule_states,
    rules,
)
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
    REQUEST_STATES,
    annotations_table,
    baseline_requests,
    drift_feedback,
    event_feedback,
)
from lenswatch.server.db.tables.references import reference_pictures
from lenswatch.server.db.tables.rollups import rollups
from lenswatch.server.db.tables.upkeep import (
    import_positions,
    leases,
    picture_index,
    retention,
    storage,
)
from lenswatch.server.db.tables.watch import EVENT_KINDS, STATES, events, streams

__all__ = [
    "ANNOTATION_KINDS",
    "CHANNEL_KINDS",
    "DELIVERY_STATES",
    "EVENT_KINDS",
    "REQUEST_STATES",
    "STATES",
    "annotations_table",
    "api_keys",
    "baseline_requests",
    "channels",
    "cursors",
    "deliveries",
    "drift_feedback",
    "drift_tags",
    "drifts",
    "event_feedback",
    "events",
    "experiments",
    "import_positions",
    "key_experiments",
    "leases",
    "messages",
    "metadata",
    "permissions",
    "picture_index",
    "pictures",
    "reference_pictures",
    "retention",
    "rollups",
    "rule_channels",
    "rule_states",
    "rules",
    "sessions",
    "settings",
    "shed_jobs",
    "storage",
    "streams",
    "tag_tallies",
    "tallies",
    "users",
]
