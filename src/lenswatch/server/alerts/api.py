"""The API of alerts: channels, rules and deliveries of an experiment."""

from __future__ import annotations

from lenswatch.server.alerts import channel_api, delivery_api, rule_api
from lenswatch.server.http.operations import Operations

__all__ = ["operations"]

operations = Operations()
for module in (channel_api, rule_api, delivery_api):
    operations.all += module.operations.all
