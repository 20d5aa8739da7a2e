"""The recording is sent as backends would send it, and adds up to what the gateways counted."""

from cloudpriv.client.rows import Rejection, Row, malformed
from cloudpriv.demo import recording
from cloudpriv.demo.sources import recorded, totals

SUFFIX = "-again"
NAMES = {account["account_name"]: account["account_name"] + SUFFIX for account in recording.accounts()}


def test_each_source_is_sent_by_the_backend_of_its_service() -> None:
    told = {(source.service, source.name.split(",")[0]) for source in recorded(NAMES)}
    assert told == {
        ("talk2m", "RADIUS accounting"),
        ("intesis", "OpenVPN scripts"),
        ("intesis", "OpenVPN status file"),
    }
    services = {account["account_name"]: account["service"] for account in recording.accounts()}
    for source in recorded(NAMES):
        named = {row["account"] for row in source.rows() if not isinstance(row, Rejection) and "account" in row}
        assert {services[str(name).removesuffix(SUFFIX)] for name in named} <= {source.service}


def test_every_row_names_the_account_of_this_run_but_those_of_a_status_file_without_usernames() -> None:
    for source in recorded(NAMES):
        accounts = {row.get("account") for row in source.rows() if not isinstance(row, Rejection)}
        if source.name.endswith("names no account"):
            assert accounts == {None}
        else:
            assert accounts
            assert accounts <= set(NAMES.values())


def test_rows_can_be_read_again() -> None:
    for source in recorded(NAMES):
        assert list(source.rows()) == list(source.rows())


def test_the_whole_recording_is_sent() -> None:
    rows = [row for source in recorded(NAMES) for row in source.rows()]
    for service in ("talk2m", "intesis"):
        for record in recording.records(service):
            assert record | {"account": NAMES[str(record["account"])]} in rows


def test_each_session_counts_once_with_its_highest_counters() -> None:
    rows: list[Row] = [
        {"account": "a", "session": "1"},
        {"account": "a", "session": "1", "bytes_from_device": 5, "bytes_to_device": 1},
        {"account": "a", "session": "1", "bytes_from_device": 3, "bytes_to_device": 7},
        {"account": "a", "session": "2", "bytes_from_device": 10},
        {"account": "b", "session": "1", "bytes_to_device": 2},
        {"session": "3", "bytes_to_device": 1000},
        malformed("unreadable"),
    ]
    assert totals(rows) == {"a": (2, 15, 7), "b": (1, 0, 2)}
