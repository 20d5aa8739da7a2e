"""Articles of the GDPR as each language cites them in a sentence, the only place where that is known.

They are kept as English writes them, such as `12(5)(b)`: article, paragraph, point. Swedish is as the Swedish policy and the
Swedish authorities write it, French and Spanish as their versions of the Regulation refer to it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

PARTS: Final = re.compile(r"(\d+)(?:\((\d+)\))?(?:\(([a-z])\))?")

Parts = tuple[str, str | None, str | None]


def cited(article: str, language: str) -> str:
    """An article in words of one of the languages of mails and pages, with the Regulation's name.

    Raises ValueError for what is no article, KeyError for another language.
    """
    found = PARTS.fullmatch(article)
    if found is None:
        raise ValueError(article)
    return CITED[language]((found[1], found[2], found[3]))


def _english(parts: Parts) -> str:
    number, *below = parts
    return f"GDPR Article {number}" + "".join(f"({part})" for part in below if part)


def _swedish(parts: Parts) -> str:
    number, paragraph, point = parts
    return f"artikel {number}" + (f".{paragraph}" if paragraph else "") + (f" {point}" if point else "") + " i GDPR"


def _french(parts: Parts) -> str:
    number, paragraph, point = parts
    below = (f", paragraphe {paragraph}" if paragraph else "") + (f", point {point})" if point else "")
    return f"article {number}{below}{',' if below else ''} du RGPD"


def _spanish(parts: Parts) -> str:
    number, paragraph, point = parts
    below = (f", apartado {paragraph}" if paragraph else "") + (f", letra {point})" if point else "")
    return f"artículo {number}{below}{',' if below else ''} del RGPD"


CITED: Final[Mapping[str, Callable[[Parts], str]]] = {"en": _english, "sv": _swedish, "fr": _french, "es": _spanish}
