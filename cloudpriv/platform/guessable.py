"""How many guesses a password withstands, by zxcvbn: words that everybody uses, rows of keys, dates, repeats.

Its own entry point is not used: that one leaves the words about a person behind, in a dictionary that all threads share.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

from zxcvbn import matching, scoring

LIMIT: Final = 10**6  # below it, zxcvbn calls a password very guessable, even where guesses have to wait
PIECE: Final = 20  # characters estimated at once: the work grows faster than the length
TELLING: Final = 2  # characters from which a part of a name counts as one


def is_guessable(password: str, about: Iterable[str] = ()) -> bool:
    """Whether fewer than a million guesses find a password, by whoever knows these words about the person.

    Words about the person count for nothing in it, nor do case, forms of a letter that look alike (NFKC), and repeats of the
    whole. 30,000 passwords that people were found to use are known, 11,611 of them with eight characters or more.
    """
    words = _parts(about)
    shown = _folded(password)
    for word in sorted(words, key=len, reverse=True):
        shown = shown.replace(word, "")
    return _withstands_little(_unrepeated(shown), words)


def _withstands_little(shown: str, words: list[str]) -> bool:
    known = {**matching.RANKED_DICTIONARIES, "user_inputs": matching.build_ranked_dict(words)}  # found with 0 for o, too
    guesses = 1.0
    for start in range(0, len(shown), PIECE):
        piece = shown[start : start + PIECE]
        guesses *= float(scoring.most_guessable_match_sequence(piece, matching.omnimatch(piece, known))["guesses"])
        if guesses >= LIMIT:
            return False
    return True


def _unrepeated(shown: str) -> str:
    """What the whole is a repetition of."""
    return shown[: (shown + shown).find(shown, 1)] if shown else shown


def _parts(about: Iterable[str]) -> list[str]:
    """The words, each whole, and in the parts that people take from them."""
    shown = [_folded(words) for words in about]
    parts = [part for words in shown for part in "".join(c if c.isalnum() else " " for c in words).split()]
    return [word for word in dict.fromkeys([*shown, *parts]) if len(word) >= TELLING]


def _folded(shown: str) -> str:
    return unicodedata.normalize("NFKC", shown).casefold()
