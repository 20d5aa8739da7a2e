"""Normal forms of names, so that a look-up by blind index finds what a person would call the same."""

import unicodedata


def normalised(name: str) -> str:
    """NFKC, case-folded, without surrounding blanks (as PRECIS' UsernameCaseMapped does in spirit, RFC 8265)."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded).strip()  # again, since folding takes some letters apart
