"""Templates of the portal: every text in them is in the catalogues, every form is guarded, nothing is inline."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import nodes

from cloudpriv.portal import pages

TEMPLATES = sorted((Path(pages.__file__).with_name("templates")).rglob("*.html"))
READ_OUT = frozenset({"title", "alt", "aria-label", "placeholder", "data-label", "summary", "content", "label"})
UNREAD = frozenset({"viewport", "color-scheme", "robots"})  # what <meta> of these names has is for machines
GETTEXT = frozenset({"_", "gettext", "ngettext", "pgettext", "npgettext"})
# One-click unsubscribing takes whoever has its link, by RFC 8058: with a mail program's POST, which knows no token of ours.
# The language of this browser is chosen on error pages too, and takes a form that no other site sent.
WITHOUT_TOKEN = frozenset({"unsubscribe.html", "forms.html"})
HOLE = "\ue000"  # stands where a value comes from an expression
WORDS = re.compile(r"[^\W\d_]{2,}|^[A-Z]$")
SENTENCE = re.compile(r"[^\W\d_]\s+[^\W\d_]|^[A-Z][a-z]")
MARKUP = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)


class Reader(HTMLParser):
    """Collects what a reader would see or hear."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Attributes that are read out."""
        given = dict(attrs)
        if tag == "meta" and given.get("name") in UNREAD:
            return
        self.seen += [value for name, value in attrs if name in READ_OUT and value]
        if tag in ("button", "input") and given.get("type") in ("submit", "button"):
            self.seen.append(given.get("value") or "")

    def handle_data(self, data: str) -> None:
        """Text between elements."""
        self.seen.append(data)


def literal_html(node: nodes.Node) -> str:
    """The template's own HTML in its order, with holes for expressions."""
    if isinstance(node, nodes.TemplateData):
        return node.data
    if isinstance(node, nodes.Expr):
        return HOLE
    return "".join(literal_html(child) for child in node.iter_child_nodes())


def said_outside(node: nodes.Node) -> list[str]:
    """Texts in expressions that look like words to a reader and are not looked up in a catalogue."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in GETTEXT:
        return [each for value in node.kwargs for each in said_outside(value)]
    if isinstance(node, nodes.Const):
        return [node.value] if isinstance(node.value, str) and SENTENCE.search(node.value) else []
    if isinstance(node, nodes.TemplateData):
        return []
    return [each for child in node.iter_child_nodes() for each in said_outside(child)]


def untranslated(source: str) -> list[str]:
    """Texts of a template that are in no catalogue."""
    tree = pages.ENVIRONMENT.parse(source)
    reader = Reader()
    reader.feed(literal_html(tree))
    reader.close()
    seen = [text.replace(HOLE, " ").strip() for text in reader.seen]
    return [text for text in seen if WORDS.search(text)] + said_outside(tree)


def named(path: Path) -> str:
    """How a template is called in the report of a test."""
    return path.name


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_text_of_a_template_is_in_the_catalogues(path: Path) -> None:
    assert untranslated(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "<p>Hello</p>",
        "<p>{% if true %}Hello{% endif %}</p>",
        '<img alt="A picture">',
        '<nav aria-label="Pages {{ _("x") }}"></nav>',
        '<input placeholder="name">',
        '{{ notice("warn", "It is closed") }}',
        '{{ _("All %(x)s", x="Not that") }}',
        "{% macro x() %}<b>Word</b>{% endmacro %}",
        '<td data-label="When"></td>',
        "<title>Portal</title>",
    ],
)
def test_a_text_outside_the_catalogues_is_found(source: str) -> None:
    assert len(untranslated(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        '<p>{{ _("Hello") }}</p>',
        "<p>{% trans name=name %}Hello {{ name }}{% endtrans %}</p>",
        '<input type="text" name="x" class="wide">',
        "<b>{{ value }}</b> · 7",
    ],
)
def test_a_text_of_the_catalogues_is_none_outside(source: str) -> None:
    assert untranslated(source) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_form_that_changes_something_proves_to_be_ours(path: Path) -> None:
    source = path.read_text()
    forms = re.findall(r'<form[^>]*method="post".*?</form>', source, re.DOTALL)
    assert len(forms) == len(re.findall(r'method="post"', source))
    unguarded = [form for form in forms if "hidden_csrf()" not in form and "csrf_token()" not in form]
    assert len(unguarded) == (path.name in WITHOUT_TOKEN)


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_no_template_has_inline_code_or_switches_escaping_off(path: Path) -> None:
    html = MARKUP.sub("", path.read_text())
    assert re.findall(r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|javascript:", html) == []
    assert re.findall(r"\|\s*safe\b|autoescape", path.read_text()) == []
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", html) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_page_stands_in_the_frame(path: Path) -> None:
    tree: Any = pages.ENVIRONMENT.parse(path.read_text())
    macros_alone = not literal_html(nodes.Template([n for n in tree.body if not isinstance(n, nodes.Macro)])).strip()
    if path.name == "base.html" or macros_alone:
        return
    assert [each.template.value for each in tree.find_all(nodes.Extends)] == ["base.html"]
    assert {each.name for each in tree.find_all(nodes.Block)} >= {"title", "content"}
    assert literal_html(tree).count("<h1") >= 1
