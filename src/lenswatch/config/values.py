"""Types of the values of settings, with their limits.

The description of a type ends the message "KEY = VALUE: must be ...".
"""

import sys
from typing import Annotated, Literal

from msgspec import Meta

from lenswatch.durations import DURATION, DURATION_RULE

# msgspec accepts NaN and infinity for a float without limits, so every float here has limits.
_MAX = sys.float_info.max
AtLeast1 = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
AtLeast2 = Annotated[int, Meta(ge=2, description="a whole number, 2 or more")]
NotNegative = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port, 1 to 65535")]
Workers = Annotated[int, Meta(ge=1, le=256, description="1 to 256")]
Side = Annotated[int, Meta(ge=32, le=4096, description="a whole number of pixels, 32 to 4096")]
SampleBits = Literal[0, 10, 12, 14, 16]
Number = Annotated[float, Meta(ge=-_MAX, le=_MAX, description="a number")]
PositiveNumber = Annotated[float, Meta(gt=0, le=_MAX, description="a number greater than 0")]
NotNegativeNumber = Annotated[float, Meta(ge=0, le=_MAX, description="a number, 0 or more")]
Days = Annotated[float, Meta(ge=0, le=100_000, description="a number from 0 to 100000")]
Images = Annotated[float, Meta(ge=1, le=_MAX, description="1 or more images")]
Share = Annotated[float, Meta(gt=0, lt=1, description="a number between 0 and 1")]
FolderPath = Annotated[str, Meta(pattern=r"\A[^\x00]+\Z", description="the path of a folder")]
OptionalFile = Annotated[
    str, Meta(pattern=r"\A[^\x00]*\Z", description="empty or the path of a file")
]
Duration = Annotated[
    str, Meta(pattern=rf"\A({DURATION})?\Z", description=f"empty or {DURATION_RULE}")
]
Secret = Annotated[str, Meta(description="a string", extra={"secret": True})]
Host = Annotated[str, Meta(pattern=r"\A[!-~]+\Z", description="an IP address or a host name")]
UrlPath = Annotated[
    str,
    Meta(
        pattern=r"(?a)\A(/[\w.~-]+)*/?\Z",
        description="empty or a path such as /lenswatch, of letters, digits and . _ ~ -",
    ),
]
Origin = Annotated[
    str,
    Meta(
        pattern=r"\A(\*|[a-z][a-z0-9+.-]*://[!-.0-~]+)\Z",
        description="an origin such as https://lens.example, without a path",
    ),
]
Website = Annotated[
    str,
    Meta(
        pattern=r"\A(https?://[!-.0-~]+(/[\w.~-]+)*/?)?\Z",
        description="empty or an address such as https://lens.example/lenswatch",
    ),
]
