"""What every command prints: times and things in one form, ids in one piece, and what is wrong with a value."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import click
import pytest
from click.testing import CliRunner

from cloudpriv.commands import context
from cloudpriv.commands.context import Group, report, report_one
from cloudpriv.platform.errors import FieldError, InvalidError

AT = datetime(2026, 11, 23, 8, 1, 4, tzinfo=UTC)
ID = UUID("01a2076c-3d50-70a1-a69f-31d463c73a57")


def printed(act: Callable[[], None]) -> str:
    """What a command that does this prints, in a terminal of 80 columns."""
    command = click.Command("act", callback=act)
    return CliRunner().invoke(Group(commands={"act": command}), ["act"], env={"COLUMNS": "80"}).output


@pytest.mark.parametrize("json_output", [True, False])
def test_times_are_those_of_the_api_and_things_in_things_are_json(json_output: bool) -> None:
    row = {"identity": {"method": "documents", "verified_at": AT}, "received_at": AT}
    told = printed(lambda: report_one(row, json_output))
    assert told.count("2026-11-23T08:01:04+00:00") == 2
    assert '{"method": "documents"' in told


def test_ids_are_in_one_piece_however_much_stands_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context.screen, "_width", 80)
    row = {"request": ID, "type": "rectification", "status": "identity verified", "due": "2026-12-21"}
    assert str(ID) in printed(lambda: report([row], False))


def test_a_refused_value_is_told_with_what_is_wrong_with_it() -> None:
    def refuse() -> None:
        raise InvalidError(errors=(FieldError("/ground", "Is no ground for this type."),))

    assert printed(refuse) == "cloudpriv: Some values are not acceptable. ground: Is no ground for this type.\n"
