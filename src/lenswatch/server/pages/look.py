"""How a visitor wants pages to look: light or dark, and times in their own zone or in UTC.

Both are in the address (`?zone=utc&theme=dark`), and cookies remember them for the next page. The zone
itself is told by a script, in a cookie; without it times are in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.identity.sessions import cookie_options
from lenswatch.server.values import stamps

__all__ = ["Look", "duration", "look_of", "remember"]

THEMES = ("system", "light", "dark")
ZONES = ("local", "utc")
ZONE_COOKIE = "lenswatch_tz"  # the browser's time zone, set by zone.js
_YEAR_SECONDS = 365 * 24 * 3600
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}\Z")
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Look:
    """Theme and time zone of one answer, and the moment that it calls now."""

    theme: str
    zone: str
    tz: tzinfo
    now: int  # microseconds

    @property
    def known(self) -> bool:
        """True unless local times are wanted and the browser has not told its zone."""
        return self.zone == "utc" or self.tz is not UTC

    @property
    def zone_shown(self) -> str:
        """The zone in which times are: "utc" too while the browser has not told its own."""
        return self.zone if self.known else "utc"

    @property
    def zone_name(self) -> str:
        """Name of the zone: "Europe/Berlin", "UTC"."""
        return self.tz.key if isinstance(self.tz, ZoneInfo) else "UTC"

    def moment(self, stamp: int | str | None) -> datetime | None:
        """Return a moment in the visitor's zone; None for one that cannot be read."""
        found = stamps.microseconds(stamp) if isinstance(stamp, str) else stamp
        if found is None:
            return None
        try:
            return datetime.fromtimestamp(found / _MICROSECONDS, self.tz)
        except (ValueError, OverflowError, OSError):
            return None

    def short(self, stamp: int | str | None) -> str:
        """Return "10:42" today, "3 June 10:42" this year, "3 June 2025 10:42" before."""
        moment, today = self.moment(stamp), self.moment(self.now)
        if moment is None or today is None:
            return "–"
        clock = f"{moment:%H:%M}"
        if moment.date() == today.date():
            return clock
        year = "" if moment.year == today.year else f" {moment.year}"
        return f"{moment.day} {moment:%B}{year} {clock}"

    def ends(self, start: int | str | None, end: int | str | None) -> tuple[str, str]:
        """Return both ends of a span, short: each has its date, unless both are on the same day."""
        first, last, today = (self.moment(stamp) for stamp in (start, end, self.now))
        if first is None or last is None or today is None:
            return self.short(start), self.short(end)
        if first.date() == last.date():
            return self.short(start), f"{last:%H:%M}"
        years = {first.year, last.year} != {today.year}
        begin, finish = (
            f"{m.day} {m:%B}{f' {m.year}' if years else ''} {m:%H:%M}" for m in (first, last)
        )
        return begin, finish

    def long(self, stamp: int | str | None) -> str:
        """Return "2026-06-03 10:42:05"."""
        moment = self.moment(stamp)
        return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "–"

    def utc(self, stamp: int | str | None) -> str:
        """Return "2026-06-03 08:42:05 UTC"."""
        moment = self.moment(stamp)
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "–"

    def utc_iso(self, stamp: int | str | None) -> str:
        """Return "2026-06-03T08:42:05Z", for a form."""
        return self.utc(stamp).replace(" UTC", "Z").replace(" ", "T")

    def time(self, stamp: int | str | None, words: str = "") -> Markup:
        """Return a time element: `words`, or a short time, with UTC and the visitor's time in its tooltip."""
        moment = self.moment(stamp)
        if moment is None:
            return Markup("–")
        utc = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        own = "" if self.tz is UTC else f"{self.long(stamp)} here, "
        return Markup('<time datetime="{}" title="{}{}">{}</time>').format(
            moment.astimezone(UTC).isoformat(), own, utc, words or self.short(stamp)
        )

    def field(self, stamp: int | str | None) -> str:
        """Return a moment as the value of a datetime-local field."""
        moment = self.moment(stamp)
        return f"{moment:%Y-%m-%dT%H:%M}" if moment else ""

    def read(self, text: str) -> int | None:
        """Return the moment that a datetime-local field or an address names, in microseconds."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.tz)
        return stamps.microseconds(moment.isoformat())

    def since(self, stamp: int | str | None, until: int | str | None = None) -> str:
        """Return how long it is from `stamp` to `until`, or to now: "7 h 30 min"."""
        start = stamps.microseconds(stamp) if isinstance(stamp, str) else stamp
        end = stamps.microseconds(until) if isinstance(until, str) else until
        if start is None:
            return "–"
        return duration(((self.now if end is None else end) - start) / _MICROSECONDS)

    def ago(self, stamp: int | str | None) -> str:
        """Return "2 min ago"; a moment slightly ahead of this clock is "just now"."""
        start = stamps.microseconds(stamp) if isinstance(stamp, str) else stamp
        if start is None:
            return "never"
        seconds = (self.now - start) / _MICROSECONDS
        return "just now" if seconds < 2 else f"{duration(seconds, whole=True)} ago"

    def brief(self, stamp: int | str | None) -> str:
        """Return how long ago, without the word: "2 min"."""
        return self.ago(stamp).removesuffix(" ago").replace("just now", "now")

    def later(self, stamp: int | str | None, seconds: float) -> int | None:
        """Return the moment that is `seconds` after `stamp`."""
        start = stamps.microseconds(stamp) if isinstance(stamp, str) else stamp
        return None if start is None else start + round(seconds * _MICROSECONDS)

    def future(self, stamp: str | None) -> bool:
        """Return whether a moment is yet to come."""
        return stamp is not None and (stamps.microseconds(stamp) or 0) > self.now


def duration(seconds: float, *, whole: bool = False) -> str:
    """Return a duration in words of one or two units.

    >>> duration(27000), duration(42), duration(3 * 86400), duration(5400, whole=True)
    ('7 h 30 min', '42 s', '3 days', '2 h')
    """
    seconds = max(0, round(seconds))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90 or (minutes < 36 * 60 and not whole):
        hours, rest = divmod(minutes, 60)
        if hours == 0 or whole:
            return f"{minutes} min"
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    hours = round(minutes / 60 + 1e-9)
    if hours < 36:
        return f"{hours} h"
    days, rest = divmod(hours, 24)
    if whole or rest == 0 or days > 6:
        days = round(hours / 24)
        return f"{days} days" if days != 1 else "1 day"
    return f"{days} day{'' if days == 1 else 's'} {rest} h"


def look_of(request: Request) -> Look:
    """Return how the sender of `request` wants the page to look."""
    theme = _chosen(request, "theme", THEMES)
    zone = _chosen(request, "zone", ZONES)
    tz = UTC if zone == "utc" else _zone(request.cookies.get(ZONE_COOKIE, ""))
    return Look(theme, zone, tz, stamps.now())


def remember(request: Request, response: Response) -> None:
    """Keep in cookies what the address sets, for the pages after this one."""
    options = cookie_options(request)
    for name, values in (("theme", THEMES), ("zone", ZONES)):
        value = request.query_params.get(name)
        if value is not None and value in values:
            response.set_cookie(f"lenswatch_{name}", value, max_age=_YEAR_SECONDS, **options)


def _chosen(request: Request, name: str, values: tuple[str, ...]) -> str:
    for given in (request.query_params.get(name), request.cookies.get(f"lenswatch_{name}")):
        if given in values:
            return str(given)
    return values[0]


def _zone(name: str) -> tzinfo:
    name = name.replace("%2F", "/")
    if not name or len(name) > 60 or not _ZONE_NAME.match(name):
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return UTC
