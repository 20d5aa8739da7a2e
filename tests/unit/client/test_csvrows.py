"""Every data row of a CSV file becomes one record or one rejection."""

from pathlib import Path

import pytest

from cloudpriv.client.csvmap import MapError, load_map
from cloudpriv.client.csvrows import rows
from cloudpriv.client.rows import Rejection, Row

BASE = 'device = "mac"\nsession = ["mac", "peer", "start"]\nstarted_at = "start"\n'


def read(folder: Path, columns: str, text: str, head: str = "") -> list[Row]:
    """The rows of a CSV text by a map of these columns."""
    path = folder / "own.toml"
    path.write_text(f'source = "plant:{{stem}}"\n{head}\n[columns]\n{columns}')
    return list(rows(load_map(path), "line-4", text.splitlines(keepends=True)))


def test_columns_become_fields_and_several_form_the_session(tmp_path: Path) -> None:
    columns = BASE + 'duration_s = "secs"\nbytes_from_device = "out"\nbytes_to_device = "in"\nremote_address = "peer"\n'
    text = "mac,peer,start,secs,out,in\naa,192.0.2.1,1678440574.08554,5e-06,12,34\n"
    assert read(tmp_path, columns, text) == [
        {
            "source": "plant:line-4",
            "device": "aa",
            "session": "aa|192.0.2.1|1678440574.08554",
            "started_at": "2023-03-10T09:29:34.085540Z",
            "duration_s": 5e-06,
            "bytes_from_device": 12,
            "bytes_to_device": 34,
            "remote_address": "192.0.2.1",
        }
    ]


def test_sessions_of_different_rows_are_never_the_same(tmp_path: Path) -> None:
    text = "mac,peer,start\na|,b,1\na,|b,1\na\\,|b,1\na\\|,b,1\na,,1\n,a,1\na\\,b|c,1\na|b\\,c,1\n"
    found = read(tmp_path, 'device = "start"\nsession = ["mac", "peer", "start"]\nstarted_at = "start"\n', text)
    names = [row["session"] for row in found if isinstance(row, dict)]
    assert len(set(names)) == len(names) == 8


def test_an_empty_cell_is_left_out_or_means_what_the_map_says(tmp_path: Path) -> None:
    columns = BASE + 'bytes_to_device = { column = "in", empty = 0 }\nbytes_from_device = "out"\n'
    (row,) = read(tmp_path, columns, "mac,peer,start,in,out\naa,b,1,,\n")
    assert isinstance(row, dict)
    assert row["bytes_to_device"] == 0
    assert "bytes_from_device" not in row


def test_only_the_first_of_several_values_counts_where_the_map_says_so(tmp_path: Path) -> None:
    columns = BASE.replace('"mac"\nsession', '{ column = "mac", first = "/" }\nsession')
    (row,) = read(tmp_path, columns, "mac,peer,start\naa/bb/cc,b,1\n")
    assert isinstance(row, dict)
    assert row["device"] == "aa"
    assert row["session"] == "aa/bb/cc|b|1"


def test_values_are_renamed_and_others_kept(tmp_path: Path) -> None:
    columns = BASE + 'protocol = { column = "proto", values = { 6 = "tcp" } }\n'
    found = read(tmp_path, columns, "mac,peer,start,proto\na,b,1,6\na,b,2,17\n")
    assert [row["protocol"] for row in found if isinstance(row, dict)] == ["tcp", "17"]


def test_constants_are_in_every_row(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        BASE + '[constants]\naccount = "acme"\nend_reason = "flow"\n',
        "mac,peer,start\na,b,1\na,b,2\n",
    )
    assert [(row["account"], row["end_reason"]) for row in found if isinstance(row, dict)] == [("acme", "flow")] * 2


@pytest.mark.parametrize(
    ("head", "cell", "time"),
    [
        ('time = "rfc3339"', "2023-03-10T10:29:34+01:00", "2023-03-10T10:29:34+01:00"),
        (
            'time = "%d.%m.%Y %H:%M"\ntime_zone = "Europe/Stockholm"',
            "10.03.2023 10:29",
            "2023-03-10T09:29:00+00:00",
        ),
        (
            'time = "%d.%m.%Y %H:%M"\ntime_zone = "Europe/Stockholm"',
            "10.07.2023 10:29",
            "2023-07-10T08:29:00+00:00",
        ),
        (
            'time = "%Y-%m-%d %H:%M %z"\ntime_zone = "Europe/Stockholm"',
            "2023-03-10 10:29 -0500",
            "2023-03-10T15:29:00+00:00",
        ),
        ('time = "%Y-%m-%d %H:%M"', "2023-03-10 10:29", "2023-03-10T10:29:00+00:00"),
    ],
)
def test_times_are_read_in_the_maps_format_and_zone(tmp_path: Path, head: str, cell: str, time: str) -> None:
    (row,) = read(tmp_path, BASE, f"mac,peer,start\na,b,{cell}\n", head)
    assert isinstance(row, dict)
    assert row["started_at"] == time


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("aa,b,yesterday,1", "started_at is not a Unix time in seconds"),
        ("aa,b,,1", "started_at is empty"),
        (",b,1,1", "device is empty"),
        ("aa,b,1,lots", "bytes_from_device is not a whole number"),
        ("aa,b,1", "the row has 3 cells, the header 4"),
        ("aa,b,1,1,1", "the row has 5 cells, the header 4"),
        (f"{'a' * 140_000},b,1,1", "the row is not CSV"),
    ],
)
def test_a_row_that_cannot_be_converted_is_refused_in_its_place(tmp_path: Path, line: str, reason: str) -> None:
    text = f"mac,peer,start,out\naa,b,1,1\n{line}\naa,b,2,1\n"
    first, refused, last = read(tmp_path, BASE + 'bytes_from_device = "out"\n', text)
    assert refused == Rejection("malformed", reason)
    assert isinstance(first, dict)
    assert isinstance(last, dict)


def test_a_time_that_does_not_fit_the_pattern_is_refused_without_repeating_it(tmp_path: Path) -> None:
    for cell in ("10/03/2023", "0001-01-01"):
        (row,) = read(tmp_path, BASE, f"mac,peer,start\na,b,{cell}\n", 'time = "%Y-%m-%d"\ntime_zone = "Asia/Tokyo"')
        assert row == Rejection("malformed", "started_at is not a time of the map's pattern")


def test_negative_numbers_and_ends_before_starts_are_the_servers_to_judge(tmp_path: Path) -> None:
    columns = BASE + 'ended_at = "end"\nbytes_from_device = "out"\n'
    (row,) = read(tmp_path, columns, "mac,peer,start,end,out\na,b,2,1,-5\n")
    assert isinstance(row, dict)
    assert row["bytes_from_device"] == -5


def test_blank_lines_are_no_rows_and_quoted_line_ends_do_not_split_one(tmp_path: Path) -> None:
    found = read(tmp_path, BASE, 'mac, peer ,start\n\na,"b\nb",1\n\r\n"a",b,2')
    assert [row["session"] for row in found if isinstance(row, dict)] == ["a|b\nb|1", "a|b|2"]


def test_blanks_after_a_delimiter_are_not_part_of_the_cell(tmp_path: Path) -> None:
    (row,) = read(tmp_path, BASE + 'bytes_to_device = "in"\n', "mac, peer, start, in\na, b, 1, 7\n")
    assert isinstance(row, dict)
    assert (row["session"], row["bytes_to_device"]) == ("a|b|1", 7)


def test_another_delimiter_is_used_as_the_map_says(tmp_path: Path) -> None:
    (row,) = read(tmp_path, BASE, "mac;peer;start\na;b,c;1\n", 'delimiter = ";"')
    assert isinstance(row, dict)
    assert row["session"] == "a|b,c|1"


def test_columns_that_the_file_lacks_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"^the file has no column mac, start$"):
        read(tmp_path, BASE, "peer,begin\n")


def test_a_column_that_comes_twice_is_ambiguous(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"^the file has more than one column peer$"):
        read(tmp_path, BASE, "mac,peer,start,peer\n")


@pytest.mark.parametrize("text", ["", "a" * 140_000])
def test_a_file_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MapError):
        read(tmp_path, BASE, text)
