"""The archive's check finds whatever is not as the manifest says."""

import hashlib
import io
import json
import zipfile

import pytest

from cloudpriv.demo.steps import OpenedAccount, check_archive

MEMBERS = {"account.json": b'{"id": 1}', "traffic.csv": b"session\n1\n"}


def archive(members: dict[str, bytes], listed: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    entries = [
        {"name": name, "bytes": len(content), "rows": 1, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in listed.items()
    ]
    with zipfile.ZipFile(packed, "w") as written:
        for name, content in members.items():
            written.writestr(name, content)
        written.writestr("manifest.json", json.dumps({"members": entries}))
        written.writestr("manifest.jws", b"a signature")
    return packed.getvalue()


def test_a_whole_archive_is_told_member_by_member() -> None:
    assert [member["name"] for member in check_archive(archive(MEMBERS, MEMBERS))] == list(MEMBERS)


def test_a_changed_member_is_found() -> None:
    with pytest.raises(ValueError, match=r"traffic\.csv is not what the manifest says"):
        check_archive(archive({**MEMBERS, "traffic.csv": b"session\n2\n"}, MEMBERS))


def test_a_member_that_the_manifest_does_not_list_is_found() -> None:
    with pytest.raises(ValueError, match="does not list every member"):
        check_archive(archive({**MEMBERS, "more.json": b"{}"}, MEMBERS))


def test_a_missing_member_is_found() -> None:
    with pytest.raises(ValueError, match="does not list every member"):
        check_archive(archive({"account.json": MEMBERS["account.json"]}, MEMBERS))


def test_an_account_is_shown_without_its_password() -> None:
    assert "s3cret" not in repr(OpenedAccount("1", "talk2m", "acme", "robin", "s3cret"))
