"""A raw search of files, as somebody with the disk would make it: whatever the file is, and in any common shape."""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

# What deflate's output stands behind: zlib (RFC 1950), gzip (RFC 1952), and each member of a zip, whole or cut off.
ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", re.DOTALL)
MEMBER: Final = re.compile(rb"PK\x03\x04.{22}(..)(..)", re.DOTALL)
MOST: Final = 1 << 26  # bytes that one stream may become
EITHER: Final = 32  # zlib's word for a zlib or a gzip header
BARE: Final = 0


def shapes(text: str) -> dict[str, bytes]:
    """The shapes in which `text`, of lower-case letters and digits, is looked for; in any case where the shape has none."""
    plain = text.encode()
    return {
        "utf-8": plain,
        "utf-16": text.encode("utf-16-le"),
        "hex": plain.hex().encode(),
        "url": "".join(f"%{byte:02x}" for byte in plain).encode(),
        **{f"base64+{offset}": _in_base64(plain, offset) for offset in range(3)},
    }


def traces(folders: Iterable[Path], texts: Iterable[str]) -> dict[Path, set[str]]:
    """The files below the folders that tell any of `texts` in content or name, and in which shapes."""
    shaped = ((text, name, shape) for text in texts for name, shape in shapes(text).items())
    sought = {f"{text} as {name}": (shape, name.startswith("base64")) for text, name, shape in shaped}
    found = {}
    for file in _files(folders):
        contents = (str(file).encode(), *unpacked(file.read_bytes()))
        if names := {name for content in contents for name in _told(content, sought)}:
            found[file] = names
    return found


def holding(folders: Iterable[Path], sought: Iterable[bytes]) -> dict[Path, set[bytes]]:
    """The files below the folders that hold any of these bytes as they are, and which."""
    wanted = set(sought)
    read = ((file, file.read_bytes()) for file in _files(folders))
    return {file: here for file, content in read if (here := {each for each in wanted if each in content})}


def unpacked(content: bytes) -> Iterator[bytes]:
    """The content, and whatever in it can be inflated."""
    yield content
    for found in ZLIB.finditer(content):
        yield _inflated(content, found.start(), zlib.MAX_WBITS | EITHER)
    for found in MEMBER.finditer(content):
        start = found.end() + sum(int.from_bytes(found[group], "little") for group in (1, 2))
        yield _inflated(content, start, BARE - zlib.MAX_WBITS)


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    return (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())


def _told(content: bytes, sought: dict[str, tuple[bytes, bool]]) -> Iterator[str]:
    lowered = content.lower()
    return (name for name, (shape, exactly) in sought.items() if shape in (content if exactly else lowered))


def _in_base64(plain: bytes, offset: int) -> bytes:
    """What of Base64 depends on `plain` alone when so many bytes of a group of three come before it."""
    encoded = base64.b64encode(b"\0" * offset + plain + b"\0\0")
    return encoded[-(-8 * offset // 6) : 8 * (offset + len(plain)) // 6]


def _inflated(content: bytes, start: int, window: int) -> bytes:
    """As much as can be inflated from `start`; nothing when nothing can."""
    stream, made, place = zlib.decompressobj(window), bytearray(), start
    try:
        while place < len(content) and not stream.eof and len(made) < MOST:
            made += stream.decompress(content[place : place + 4096])
            place += 4096
    except zlib.error:
        pass  # what came before the fault counts
    return bytes(made)
