"""HEAD, OPTIONS and methods that a route does not know."""

import pytest
from werkzeug.routing import Rule

from cloudpriv.app import documented_app
from tests.backend import Backend

RULES = list(documented_app("controller").url_map.iter_rules())
PATHS = {rule.rule.replace("<uuid:", "").replace(">", ""): rule for rule in RULES}
NO_ID = "01a00000-0000-7000-8000-000000000000"


def path(rule: Rule) -> str:
    """A path of the rule, with ids of nothing."""
    return "/".join(NO_ID if part.startswith("<") else part for part in rule.rule.split("/"))


def methods(rule: Rule) -> set[str]:
    """All methods at the path of a rule."""
    return {method for other in RULES if other.rule == rule.rule for method in other.methods or ()}


@pytest.mark.parametrize("name", PATHS)
def test_a_route_tells_its_methods_and_refuses_others(backend: Backend, name: str) -> None:
    rule = PATHS[name]
    known = methods(rule)
    told = backend.http.options(path(rule))
    assert (told.status_code, set(told.headers["Allow"].split(", "))) == (200, known)
    assert told.data == b""
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "MADEUP"} - known:
        answer = backend.send(method, path(rule), headers={"X-HTTP-Method-Override": "GET"})
        assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, known), method
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("name", [name for name, rule in PATHS.items() if "GET" in methods(rule)])
def test_head_answers_as_get_does_but_for_the_body(backend: Backend, name: str) -> None:
    at = path(PATHS[name])
    got, headed = backend.get(at), backend.send("HEAD", at)
    assert (headed.status_code, headed.data) == (got.status_code, b"")
    assert headed.content_type == got.content_type
    without = backend.http.head(at)
    assert without.status_code == backend.http.get(at).status_code
