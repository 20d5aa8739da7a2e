"""Articles of the GDPR are written as each language writes them."""

import pytest

from cloudpriv import mail_templates
from cloudpriv.rights.articles import CITED, cited
from cloudpriv.rights.cases.grounds import GROUNDS

WRITTEN = {
    "16": ("GDPR Article 16", "artikel 16 i GDPR", "article 16 du RGPD", "artículo 16 del RGPD"),
    "12(6)": (
        "GDPR Article 12(6)",
        "artikel 12.6 i GDPR",
        "article 12, paragraphe 6, du RGPD",
        "artículo 12, apartado 6, del RGPD",
    ),
    "12(5)(b)": (
        "GDPR Article 12(5)(b)",
        "artikel 12.5 b i GDPR",
        "article 12, paragraphe 5, point b), du RGPD",
        "artículo 12, apartado 5, letra b), del RGPD",
    ),
}


@pytest.mark.parametrize("article", WRITTEN)
def test_an_article_is_written_as_the_language_does(article: str) -> None:
    assert tuple(cited(article, language) for language in ("en", "sv", "fr", "es")) == WRITTEN[article]


def test_every_ground_is_written_in_every_language() -> None:
    assert set(CITED) == set(mail_templates.LOCALES)
    articles = {article for of_types in GROUNDS.values() for article in of_types.values()}
    foreign = [cited(article, language) for article in articles for language in ("sv", "fr", "es")]
    assert all(text and "(" not in text for text in foreign)


@pytest.mark.parametrize("wrong", ["", "5b", "12(b)(5)", "12(5)(b) or so"])
def test_what_is_no_article_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{wrong[:2]}"):
        cited(wrong, "sv")
