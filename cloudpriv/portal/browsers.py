"""The family of a browser and its system, as far as a person recognises their own by it; nothing else of its name."""

import re
from typing import Final

# The first that fits: each of these names those after it, too.
BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(OPR|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(Chrome|Chromium|CriOS|HeadlessChrome)/")),
    ("Safari", re.compile(r"\bSafari/")),
)
SYSTEMS: Final = (
    ("Android", re.compile(r"\bAndroid\b")),
    ("iOS", re.compile(r"\b(iPhone|iPad|iPod)\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMac OS X\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)
LOOKED_AT: Final = 400  # characters of a browser's name


def family(user_agent: str | None) -> str:
    """Such as "Firefox, Windows"; empty for a browser that nothing is known of."""
    name = (user_agent or "")[:LOOKED_AT]
    found = (next((each for each, sign in signs if sign.search(name)), "") for signs in (BROWSERS, SYSTEMS))
    return ", ".join(filter(None, found))
