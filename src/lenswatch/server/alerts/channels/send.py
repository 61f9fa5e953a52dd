"""Sending by the channel's kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenswatch.config import AlertsConfig
from lenswatch.server.alerts.channels import apprise, email, webhook
from lenswatch.server.alerts.channels.guard import Allowed
from lenswatch.server.alerts.deliveries import Outcome
from lenswatch.server.alerts.messages import Message

__all__ = ["send"]


def send(
    channel: Mapping[Any, Any], message: Message, config: AlertsConfig, allowed: Allowed
) -> Outcome:
    """Send a message to a channel, a row of `channels`, and return the outcome."""
    match channel["kind"]:
        case "webhook":
            return webhook.send(channel["target"], channel["secret"], message, allowed)
        case "email":
            return email.send(channel["target"], message, config)
    return apprise.send(channel["target"], message, allowed)
