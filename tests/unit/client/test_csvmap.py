"""A map is checked as a whole before a row is read, and every fault names its key."""

from pathlib import Path

import pytest

from cloudpriv.client.csvmap import SHIPPED, MapError, load_map

COLUMNS = '[columns]\ndevice = "d"\nsession = "s"\nstarted_at = "t"\n'
GOOD = 'source = "x"\n' + COLUMNS


def write(folder: Path, text: str) -> Path:
    """A map file."""
    path = folder / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["westermo-flows", "nemea-siot"])
def test_shipped_maps_are_found_by_name(name: str) -> None:
    assert load_map(name).columns.device


def test_every_shipped_map_can_be_read() -> None:
    assert [load_map(path).source for path in sorted(SHIPPED.glob("*.toml"))]


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    assert load_map(write(tmp_path, GOOD)).source == "x"


def test_a_map_that_is_not_there_names_the_shipped_ones() -> None:
    with pytest.raises(MapError, match=r"^no map other: give a file or one of nemea-siot, westermo-flows$"):
        load_map("other")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('sauce = "x"\n' + GOOD, "sauce"),
        (GOOD + 'bites = "b"\n', r"bites.*\$\.columns"),
        (COLUMNS, "source"),
        ('source = "x"\n[columns]\ndevice = "d"\n', "no column for session, started_at"),
        (GOOD + 'ended_at = "e"\nduration_s = "l"\n', "ended_at or duration_s"),
        (
            GOOD + 'protocol = "p"\n[constants]\nprotocol = "tcp"\n',
            "both a column and a constant for protocol",
        ),
        (GOOD + "[constants]\nstarted_at = 'x'\n", "started_at"),
        (GOOD + 'bytes_to_device = { column = "b", empti = 0 }\n', "empti"),
        (GOOD + "bytes_to_device = { empty = 0 }\n", "column"),
        (GOOD + "bytes_to_device = 7\n", "bytes_to_device"),
        ('delimiter = ";;"\n' + GOOD, "delimiter"),
        ("delimiter = '\"'\n" + GOOD, "delimiter"),
        ('time_zone = "Mars/Olympus"\n' + GOOD, "time_zone"),
        ('time_zone = "Europe"\n' + GOOD, "time_zone"),
        ('time_zone = "../etc"\n' + GOOD, "time_zone"),
        ("source = \n", "own.toml"),
        ('source = "x"\nsource = "y"\n', "own.toml"),
    ],
)
def test_a_faulty_map_is_one_line_that_names_the_key(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(MapError, match=fault) as caught:
        load_map(write(tmp_path, text))
    assert str(caught.value).startswith("own.toml: ")
    assert "\n" not in str(caught.value)


def test_a_map_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(MapError):
        load_map(path)
