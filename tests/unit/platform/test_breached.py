"""Breached passwords: every one in the file is found and no other, wherever it stands, and a broken file is noticed."""

from hashlib import sha1
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.platform import breached
from cloudpriv.platform.errors import BusyError

WORDS = ["password1", "letmein123", "qwertyuiop", "grüße grüße", "hunter2hunter2", "  blanks  "]


def hash_of(password: str) -> str:
    """A password's SHA-1 as in the downloads."""
    return sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def listed(path: Path, passwords: list[str], end: str = "\r\n") -> Path:
    """A file as Have I Been Pwned has it, of these passwords."""
    lines = [f"{hashed}:{10 ** (number % 9)}{end}" for number, hashed in enumerate(sorted(map(hash_of, passwords)))]
    path.write_bytes("".join(lines).encode())
    return path


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_every_password_of_the_file_is_found_as_it_was_typed_and_no_other(tmp_path: Path, end: str) -> None:
    path = listed(tmp_path / "hashes", WORDS, end)
    breached.check_file(path)
    assert all(breached.is_breached(path, word) for word in WORDS)
    assert not any(breached.is_breached(path, word) for word in ("Password1", "grüße", "blanks", "", "unheard of"))


@settings(max_examples=40)
@given(count=st.integers(1, 300))
def test_a_file_of_any_size_is_searched_to_its_first_and_last_line(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    words = [f"word {number}" for number in range(count)]
    path = listed(tmp_path_factory.mktemp("lists") / "hashes", words)
    breached.check_file(path)
    assert all(breached.is_breached(path, word) for word in words)
    assert not any(breached.is_breached(path, f"other {number}") for number in range(50))


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    path = listed(tmp_path / "hashes", WORDS, "\n")
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    breached.check_file(path)
    assert all(breached.is_breached(path, word) for word in WORDS)


def test_only_a_few_lines_of_a_large_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = listed(tmp_path / "hashes", [f"word {number}" for number in range(20_000)])
    read: list[int] = []
    line_from = breached._line_from

    def counted(file: BinaryIO, offset: int, before: int) -> object:
        read.append(offset)
        return line_from(file, offset, before)

    monkeypatch.setattr(breached, "_line_from", counted)
    assert breached.is_breached(path, "word 77")
    assert len(read) <= 21, "two for each halving of a million bytes would be more"


def broken_files() -> dict[str, bytes]:
    """What may stand in a file that is no list, by what is wrong with it."""
    lines = sorted(f"{hash_of(str(number))}:{number}\r\n".encode() for number in range(1000))
    return {
        "empty": b"",
        "out of order": b"".join(reversed(lines)),
        "of NTLM hashes": b"".join(line[8:] for line in lines),
        "without counts": b"".join(line[:40] + b"\n" for line in lines),
        "broken off": b"".join(lines)[:-20],
        "without lines": b"".join(lines).replace(b"\r\n", b""),
        "compressed": b"\x1f\x8b\x08\x00" * 500,
        "of ranges": b"".join(line[5:] for line in lines),
        "zeros at the end": b"".join(lines) + bytes(4096),
    }


@pytest.mark.parametrize("fault", broken_files())
def test_a_file_that_is_no_list_is_noticed(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "hashes"
    path.write_bytes(broken_files()[fault])
    with pytest.raises(ValueError, match=r"^no "):
        breached.check_file(path)


@pytest.mark.parametrize("content", [None, b"no line of a list\n"])
def test_a_file_that_went_away_lets_no_password_pass(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "hashes"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BusyError, match="cannot be read"):
        breached.is_breached(path, "anything")
