"""Files are read as a stream whatever they are packed in, and each data row keeps its place."""

import gzip
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cloudpriv.client.csvmap import MapError
from cloudpriv.client.readers import Reader, RowFile, reader_of
from cloudpriv.client.rows import Rejection, Row

LINES = "uno\ndos\ntres\n"
STATUS = """TITLE,OpenVPN 2.6.14
TIME,2026-11-22 16:20:27,1795364427
HEADER,CLIENT_LIST,Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since (time_t),Username
CLIENT_LIST,cosy-0417,192.0.2.2:42883,60549,3691667,1795364415,UNDEF
CLIENT_LIST,UNDEF,192.0.2.3:42883,0,0,1795364415,UNDEF
CLIENT_LIST,cosy-0418,192.0.2.4:42883,1,2,1795364416,UNDEF
HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)
"""


def words(stem: str, lines: Iterable[str]) -> Iterator[Row]:
    """Each line with the stem of its text."""
    for line in lines:
        yield {"stem": stem, "word": line.rstrip()}


def read(path: Path, reader: Reader = words) -> list[Row]:
    """All rows of a file."""
    with RowFile(path, reader) as file:
        return list(file)


def expected(stem: str) -> list[Row]:
    """The rows of LINES."""
    return [{"stem": stem, "word": word} for word in LINES.split()]


def zipped(path: Path, **members: str | bytes) -> Path:
    """A zip of members, in which `__` of a name stands for a dot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path


@pytest.mark.parametrize("name", ["flows.csv", "flows", "flows.gz", "flows.zip"])
def test_a_plain_file_is_told_by_its_first_bytes_not_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(LINES)
    assert read(path) == expected("flows")


@pytest.mark.parametrize("name", ["flows.csv.gz", "flows.csv"])
def test_a_gzip_file_is_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES.encode()) + gzip.compress(b"cuatro\n"))
    assert read(path) == [*expected("flows"), {"stem": "flows", "word": "cuatro"}]


def test_every_data_member_of_a_zip_is_read_and_nothing_else(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "all.csv",
        a__csv=LINES,
        LICENSE="words",
        __hidden__csv="words",
        picture__png=b"\x89",
        b__log__gz=gzip.compress(LINES.encode()),
        c__TXT=LINES,
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/a.csv", "words")
        archive.mkdir("more.csv")
        archive.writestr("more.csv/d.csv", LINES)
    assert read(path) == [row for stem in "abcd" for row in expected(stem)]


def test_a_byte_order_mark_is_not_part_of_the_first_cell(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + LINES.encode())
    assert read(path) == expected("flows")


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.touch()
    assert read(path) == []


def test_a_zip_without_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^none.zip holds no data file"):
        read(zipped(tmp_path / "none.zip", LICENSE="words"))


def test_a_truncated_or_damaged_file_is_an_error_after_its_good_rows(tmp_path: Path) -> None:
    packed = gzip.compress(("word\n" * 100_000).encode())
    cut, bent = tmp_path / "cut.gz", tmp_path / "bent.gz"
    cut.write_bytes(packed[:-20])
    bent.write_bytes(packed[:100] + b"\x00\xff\x00" + packed[103:])
    broken = zipped(tmp_path / "broken.zip", a__csv="word\n" * 1000)
    broken.write_bytes(broken.read_bytes()[:-30])
    encrypted = zipped(tmp_path / "encrypted.zip", a__csv="word\n")
    encrypted.write_bytes(
        encrypted.read_bytes().replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    )
    for path in (cut, bent, broken, encrypted):
        with pytest.raises(OSError, match=rf"^{path.name} is ") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_large_packed_file_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = zipped(tmp_path / "large.zip", a__csv="0123456789abcdef\n" * 500_000)
    tracemalloc.start()
    with RowFile(path, words) as file:
        assert sum(1 for _ in file) == 500_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_part_that_is_read_grows_to_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("word\n" * 100_000)
    parts = []
    with RowFile(path, words) as file:
        for number, _ in enumerate(file):
            if number % 10_000 == 0:
                parts.append(file.fraction())
        assert file.fraction() == 1.0
    assert parts == sorted(parts)
    assert 0 < parts[1] < 0.5


def test_a_csv_file_needs_a_map() -> None:
    with pytest.raises(MapError, match="needs a map"):
        reader_of("csv")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "plant", "", "10.0.0.0/33"])
def test_a_network_of_devices_must_be_one(text: str) -> None:
    with pytest.raises(MapError, match="must look like"):
        reader_of("zeek", networks=[text])


def test_a_zeek_log_is_read_with_the_networks_of_its_devices(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text('{"ts": 1, "uid": "C1", "id.orig_h": "203.0.113.1", "id.resp_h": "2001:db8::1"}\n')
    (row,) = read(path, reader_of("zeek", networks=["192.0.2.0/24", "2001:db8::/32"]))
    assert isinstance(row, dict)
    assert row["device"] == "2001:db8::1"


def test_clients_of_an_openvpn_status_file_become_rows_and_unready_ones_rejections(tmp_path: Path) -> None:
    path = tmp_path / "status.log"
    for text in (STATUS, STATUS.replace(",", "\t")):
        path.write_text(text)
        first, unready, last = read(path, reader_of("openvpn-status"))
        assert isinstance(first, dict)
        assert isinstance(last, dict)
        assert (first["device"], first["bytes_from_device"], last["device"]) == (
            "cosy-0417",
            60549,
            "cosy-0418",
        )
        assert isinstance(unready, Rejection)
        assert unready.code == "malformed"


def test_an_openvpn_status_file_of_version_1_is_known_by_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "status.log"
    path.write_text(
        "OpenVPN CLIENT LIST\nUpdated,2026-11-22 16:22:23\n"
        "Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since\n"
        "cosy-0417,192.0.2.2:49975,2149,2087,2026-11-22 16:22:19\nROUTING TABLE\n"
    )
    (row,) = read(path, reader_of("openvpn-status"))
    assert isinstance(row, dict)
    assert row["bytes_to_device"] == 2087
