"""OpenAPI links: how what one operation answers is what another one needs, derived from paths and schemas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

SOURCES: Final = {"post": ("201", "202"), "get": ("200",)}
VARIABLE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class _Operation:
    path: str
    method: str
    spec: dict[str, Any]

    def needs(self, name: str) -> bool:
        """Whether it takes a parameter of this name, other than in its path."""
        return any(parameter.get("name") == name for parameter in self.spec.get("parameters", []))


def add_links(spec: dict[str, Any]) -> None:
    """Link each operation that makes, versions or pages something to those that go on from there."""
    known = list(_operations(spec["paths"]))
    for source in known:
        for status in SOURCES.get(source.method, ()):
            answer = source.spec["responses"].get(status)
            if answer is not None and (links := _links(spec, source, answer, known)):
                answer["links"] = links


def _operations(paths: dict[str, Any]) -> Iterator[_Operation]:
    for path, item in paths.items():
        for method, operation in item.items():
            if method != "parameters":
                yield _Operation(path, method, operation)


def _links(spec: dict[str, Any], source: _Operation, answer: dict[str, Any], known: list[_Operation]) -> dict[str, Any]:
    found = {}
    members = _members(spec, answer)
    for target in known:
        given = _given(source, target, answer, members)
        if given:
            operation = target.spec["operationId"]
            found[operation] = {"operationId": operation, "parameters": given}
    return found


def _given(source: _Operation, target: _Operation, answer: dict[str, Any], members: set[str]) -> dict[str, str]:
    """What request and answer of the source give the target; nothing when the answer adds nothing, or not enough."""
    if source.spec["x-plane"] != target.spec["x-plane"] or (source.method == "get" and source.path != target.path):
        return {}
    given = _path(source, target, members)
    if len(given) < len(VARIABLE.findall(target.path)):
        return {}
    if source is target:
        given |= {"query.cursor": "$response.body#/next_cursor"} if target.needs("cursor") else {}
    elif target.needs("If-Match") and "ETag" in answer["headers"] and _same(source, target):
        given |= {"header.If-Match": "$response.header.ETag"}
    return given if any(value.startswith("$response") for value in given.values()) else {}


def _same(source: _Operation, target: _Operation) -> bool:
    """Whether the target is about what the source answers."""
    made = source.method == "post" and VARIABLE.sub("{}", target.path) == VARIABLE.sub("{}", f"{source.path}/{{id}}")
    return made or source.path == target.path


def _path(source: _Operation, target: _Operation, members: set[str]) -> dict[str, str]:
    collection = source.path.rpartition("/")[2]
    given = {}
    for name in VARIABLE.findall(target.path):
        if f"{{{name}}}" in source.path:
            given[f"path.{name}"] = f"$request.path.{name}"
        elif "id" in members and f"/{collection}/{{{name}}}" in target.path:
            given[f"path.{name}"] = "$response.body#/id"
        elif name in members:
            given[f"path.{name}"] = f"$response.body#/{name}"
    return given


def _members(spec: dict[str, Any], answer: dict[str, Any]) -> set[str]:
    """The members of an answer's body."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return set(spec["components"]["schemas"].get(name, schema).get("properties", {}))
