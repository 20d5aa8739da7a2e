"""Pages as tests read them: elements with their attributes, and the text between them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})


@dataclass
class Element:
    """One element: its name, attributes, and the text inside it."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page taken apart."""

    source: str
    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """End the innermost element of this name."""
        while self._open and self._open.pop().name != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Text belongs to every element around it."""
        for element in self._open:
            element.text += data

    def all(self, name: str, /, **attributes: str) -> list[Element]:
        """The elements of a name that have these attributes."""
        given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [each for each in self.elements if each.name == name and given.items() <= each.attributes.items()]

    def one(self, name: str, /, **attributes: str) -> Element:
        """The only such element."""
        found = self.all(name, **attributes)
        assert len(found) == 1, [each.attributes for each in self.all(name)]
        return found[0]

    def words(self, name: str, /, **attributes: str) -> str:
        """The text of the only such element, with single blanks."""
        return " ".join(self.one(name, **attributes).text.split())

    def rows(self) -> list[list[str]]:
        """The cells of all rows of the page's tables, as they are read."""
        found: list[list[str]] = []
        for element in self.elements:
            if element.name == "tr":
                found.append([])
            elif element.name in ("td", "th") and found:
                found[-1].append(" ".join(element.text.split()))
        return found
