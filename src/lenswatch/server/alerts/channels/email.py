"""E-mail: plain text and HTML, with the pictures in it."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from lenswatch.config import AlertsConfig
from lenswatch.server.alerts.deliveries import Outcome
from lenswatch.server.alerts.messages import Message
from lenswatch.server.identity.fetching import tls_context
from lenswatch.server.values import stamps

__all__ = ["build", "send"]

SECONDS = 15.0  # for each step of the conversation
_TEMPORARY = range(400, 500)


def build(sender: str, recipients: list[str], message: Message) -> EmailMessage:
    """Return the e-mail of a message. Its Message-ID is the same in each try."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(stamps.moment(message.created_at))
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message.title}\n\n{message.text}\n")
    ids = {n: f"{message.id}-{n}@{domain}" for n in range(len(message.pictures))}
    mail.add_alternative(message.html({n: f"cid:{cid}" for n, cid in ids.items()}), subtype="html")
    related = mail.get_payload()[1]  # type: ignore[index]
    for n, picture in enumerate(message.pictures):
        related.add_related(picture.data, "image", "jpeg", cid=f"<{ids[n]}>")  # type: ignore[union-attr]
    return mail


def send(target: Mapping[str, Any], message: Message, config: AlertsConfig) -> Outcome:
    """Send a message by the mail server of the configuration, and return the outcome."""
    if not config.smtp_host:
        return Outcome(False, "server.alerts.smtp_host names no mail server")
    try:
        mail = build(config.mail_from, target["to"], message)
        with _connected(config) as server:
            refused = server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        final = not any(code in _TEMPORARY for code in codes)
        return Outcome(False, f"no recipient was accepted ({codes[0]})", final=final)
    except smtplib.SMTPResponseException as error:
        return Outcome(False, f"the mail server refused it ({error.smtp_code})")
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return Outcome(False, f"no mail server: {' '.join(str(error).split())}")
    return Outcome(True, f"accepted, but not for {', '.join(refused)}" if refused else "accepted")


def _connected(config: AlertsConfig) -> smtplib.SMTP:
    host, port = config.smtp_host, config.smtp_port
    context: ssl.SSLContext = tls_context()
    if config.smtp_security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=SECONDS)
    try:
        if config.smtp_security == "starttls":
            server.starttls(context=context)
        if config.smtp_user:
            server.login(config.smtp_user, config.smtp_password)
    except BaseException:
        server.close()
        raise
    return server
