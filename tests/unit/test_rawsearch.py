"""The search that shows that nothing is left would show it if something was."""

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rawsearch import traces


def _zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.json", b"{}")
        archive.writestr("second.json", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "hide",
    [
        lambda plain: plain,
        bytes.upper,
        lambda plain: plain.decode().encode("utf-16-le"),
        lambda plain: plain.decode().encode("utf-16-be"),
        lambda plain: plain.hex().encode(),
        lambda plain: plain.hex().upper().encode(),
        lambda plain: "".join(f"%{byte:02X}" for byte in plain).encode(),
        *(lambda plain, before=before: base64.b64encode(before + plain) for before in (b"", b"a", b"ab", b"abc")),
        lambda plain: base64.urlsafe_b64encode(b"\xff\xff" + plain),
        zlib.compress,
        gzip.compress,
        _zipped,
        lambda plain: _zipped(plain)[:-60],
    ],
)
@pytest.mark.parametrize("word", ["qzxwvkjyqhgw", "735194062817"])
def test_the_search_finds_what_is_there_in_any_shape(tmp_path: Path, hide: Callable[[bytes], bytes], word: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"\0\x78\x9c before" + hide(f"<{word}>".encode()) + b"after")
    assert list(traces([tmp_path], [word])) == [tmp_path / "below" / "file"]
    assert traces([tmp_path], ["somebodyelse"]) == {}


def test_the_search_finds_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "somebody.zip").touch()
    assert traces([tmp_path], ["somebody"]) == {tmp_path / "somebody.zip": {"somebody as utf-8"}}
