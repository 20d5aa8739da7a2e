"""While log data lives, every file of all servers is searched for what the customer said; and again after its erasure."""

import json
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, text

from cloudpriv.metadata import PROCESSOR
from cloudpriv.platform.classify import classification_of, erased_tables
from cloudpriv.serving import await_answer
from tests.flows.test_nothing_on_disk import (
    ACCOUNT,
    CREDENTIALS,
    LOG,
    OWNER,
    House,
    analyse,
    bytes_of,
    erase,
    house,
    logged,
    numbers,
    places,
    put_down,
    tidy,
)
from tests.ports import free_port
from tests.rawsearch import holding, traces
from tests.stack import every_row

# Each in another place, so that a find tells where it was left open.
VALUE, TAG, DEVICE, UNIT, QUALITY, LABEL, NOTE, EMAIL, KEY = (
    "qzvaluekjyqhgw", "qztagwxkvjyqh", "qzdevicevkjyq", "qzunitxwvkj", "qzqualityxwv", "qzlabelwvkjyq", "qznotexwvkjyq",
    "qzemailxwvkjy", "qzbatchkeyxwv",
)  # fmt: skip
SAID = [VALUE, TAG, DEVICE, UNIT, QUALITY, LABEL, NOTE, EMAIL, KEY]
FLOAT, WHOLE = 735194062817.3125, 0x7A51C3E94D2B6F18  # as a file of columns would hold them
IN_BYTES = [struct.pack(order + kind, value) for order in "<>" for kind, value in (("d", FLOAT), ("q", WHOLE))]
BATCHES = 8  # as many as are compacted at once
STORED = "stack/rclone-logdata"


@dataclass(frozen=True)
class LogData:
    """The processor plane of a house, as its customer uses it."""

    home: House
    url: str

    def send(
        self, method: str, path: str, token: str, body: object = None, *, like: int | None = None, **headers: str
    ) -> Any:
        """One request, whose answer is a success unless it is to be `like` another status."""
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = None if body is None else json.dumps(body).encode()
        answer = self.home.http.request(method, self.url + path, body=sent, headers=fields)
        assert answer.status == like if like else answer.status < 300, (
            method,
            path.partition("?")[0],
            answer.status,
            answer.data,
        )
        return answer

    def scalar(self, statement: str) -> Any:
        """One value of the plane's database."""
        with self.home.log_data.connect() as connection:
            return connection.scalar(text(statement))


@contextmanager
def log_data_of(home: House, folder: Path) -> Iterator[LogData]:
    """API, worker and schedule of the processor plane beside the controller plane's."""
    bind = f"127.0.0.1:{free_port()}"
    named = {"ACCESS_LOG_DIR": str(folder / "access_log"), "LOG_LEVEL": "DEBUG", "TOKEN_ISSUER": home.api.url}
    own = {f"CLOUDPRIV_PROCESSOR_{name}": each for name, each in named.items()}
    environment = home.database.environment("processor") | own
    with ExitStack() as cleanup:
        for words in (["worker"], ["schedule"], ["serve", "--bind", bind]):
            log = folder / "logs" / f"processor-{words[0]}.log"
            process = cleanup.enter_context(logged([*words, "--plane", "processor"], environment, log))
            home.processes.append(process)
        assert await_answer(bind, process), log.read_text()
        yield LogData(home, f"http://{bind}")


def sign_in(home: House) -> tuple[str, str]:
    """The path of an account, and a session of its owner."""
    account = home.make("/v1/accounts", {**ACCOUNT, "account_name": "acme-water"})
    owner = home.make(f"{account}/people", {**OWNER, "username": "kim", "role": "owner"})
    home.send("PUT", f"{owner}/credentials", CREDENTIALS)
    who = {"service": "talk2m", "account_name": "acme-water", "username": "kim", "password": CREDENTIALS["password"]}
    found: str = home.send("POST", "/v1/session", who).json()["access_token"]
    return account, found


def live(log_data: LogData, session: str) -> tuple[str, str]:
    """All that a customer can say; the tokens of a device and of a reader."""
    tokens = "/v1/logdata/tokens"
    made = log_data.send("POST", tokens, session, {"kind": "device", "device": DEVICE, "name": f"{LABEL} 1"}).json()
    device, reader = made["token"], log_data.send("POST", tokens, session, {"kind": "reader", "name": LABEL}).json()["token"]
    for number in range(BATCHES):
        points = [
            point(VALUE, number),
            point(FLOAT, number),
            point(WHOLE, number, f"{TAG} whole"),
            point(True, number, f"{TAG} on"),
        ]
        for _ in range(2):
            log_data.send("POST", "/v1/logdata/points", device, points, Idempotency_Key=f'"{KEY}-{number}"')
    log_data.send("POST", "/v1/logdata/points", device, [{**point(VALUE, 0), VALUE: TAG}, point(EMAIL, 1, f"{TAG} by")])
    _be_refused(log_data, device, reader)
    _read(log_data, reader)
    _order(log_data, reader)
    return device, reader


def point(value: object, number: int, tag: str = TAG) -> dict[str, object]:
    """A point of a minute of a day."""
    return {"tag": tag, "time": f"2026-01-01T12:{number:02}:00Z", "value": value, "unit": UNIT, "quality": QUALITY}


def _be_refused(log_data: LogData, device: str, reader: str) -> None:
    """What was said where it does not belong."""
    vendor = log_data.home.headers["Authorization"].removeprefix("Bearer ")
    log_data.send("POST", "/v1/logdata/points", device, {VALUE: TAG}, like=422)
    log_data.send("POST", "/v1/logdata/points", reader, [point(VALUE, 0)], like=403)
    log_data.send("GET", f"/v1/logdata/points?device={DEVICE}&tag={TAG}", vendor, like=403)
    log_data.send("GET", f"/v1/logdata/{VALUE}?tag={TAG}", reader, like=404, Referer=f"http://x/{VALUE}")


def _read(log_data: LogData, reader: str) -> None:
    named = f"device={DEVICE}&tag={quote(TAG)}"
    for path in (
        "devices", f"tags?device={DEVICE}", f"points?{named}", f"aggregates?{named}&bucket=PT1H", "access-log", "record",
        "retention",
    ):  # fmt: skip
        log_data.send("GET", f"/v1/logdata/{path}", reader)
    log_data.send("GET", f"/v1/logdata/points?{named}", reader, Accept="text/csv")
    log_data.home.http.request("GET", f"{log_data.url}/dmweb/getdata?t2mtoken={reader}&tagId=1").release_conn()


def _order(log_data: LogData, reader: str) -> None:
    """An instruction, a retention, an archive, and a request of a data subject; awaited, as is compaction."""
    instruction = {"kind": "support_read", "device": DEVICE, "tag": TAG, "note": f"{NOTE} x", "until": tomorrow()}
    log_data.send("POST", "/v1/logdata/instructions", reader, instruction)
    rules = log_data.send("GET", "/v1/logdata/retention", reader).headers["ETag"]
    log_data.send("PUT", "/v1/logdata/retention", reader, {"rules": [{"device": DEVICE, "period": "P10Y"}]}, If_Match=rules)
    exported = log_data.send("POST", "/v1/logdata/exports", reader, {"format": "csv", "tags": [TAG]}).json()["id"]
    log_data.send("POST", "/opendsr/v2/requests", reader, subject_request())
    log_data.home.await_that(lambda: log_data.scalar("SELECT count(*) FROM log_exports WHERE status <> 'ready'") == 0)
    log_data.home.await_that(lambda: log_data.scalar("SELECT count(*) FROM log_requests WHERE status <> 'completed'") == 0)
    log_data.home.await_that(lambda: log_data.scalar("SELECT count(*) FROM log_chunks WHERE level = 1") > 0)
    assert VALUE.encode() in log_data.send("GET", f"/v1/logdata/exports/{exported}/archive", reader).data


def subject_request() -> dict[str, object]:
    """What is held of a person, asked for by the customer."""
    return {
        "regulation": "gdpr",
        "subject_request_id": f"00000000-0000-4000-8000-{next(numbers):012}",
        "subject_request_type": "access",
        "submitted_time": "2026-01-02T12:00:00Z",
        "subject_identities": [{"identity_type": "email", "identity_value": EMAIL, "identity_format": "raw"}],
        "status_callback_urls": [f"https://callback.invalid/{EMAIL}"],
    }


def tomorrow() -> str:
    """A day from now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))


def sealed_of(owner: Engine) -> tuple[bytes, set[bytes]]:
    """The wrapped data key of log data, and what is sealed in all rows."""
    found = set()
    with owner.connect() as connection:
        for table in erased_tables(PROCESSOR):
            for column in (each for each in table.columns if (mark := classification_of(each)) and mark.sealed):
                found |= {bytes(value) for value in connection.scalars(text(f"SELECT {column.name} FROM {table.name}"))}  # noqa: S608  our own
        return bytes(connection.execute(text("SELECT wrapped FROM log_keys")).scalar_one()), found


def objects_in(folder: Path) -> dict[Path, bytes]:
    """What the object store of log data holds."""
    return {
        file: file.read_bytes() for file in sorted((folder / STORED).rglob("*")) if file.is_file() and "logdata" in str(file)
    }


def test_nothing_of_log_data_is_in_plain_text_in_any_file_and_nothing_at_all_after_its_account(tmp_path: Path) -> None:
    with house(tmp_path) as home, log_data_of(home, tmp_path) as log_data:
        account, session = sign_in(home)
        account_id = account.rpartition("/")[2]
        tokens = live(log_data, session)
        for owner in (home.owner, home.log_data):
            analyse(owner)
        put_down(home)
        secrets = [token[-43:].encode() for token in tokens]  # 256 bits in base64url, which may hold an underscore
        assert traces([tmp_path], SAID) == {}, "what lies in files is sealed"
        assert holding([tmp_path], [*IN_BYTES, *secrets, session.encode()]) == {}

        key, sealed = sealed_of(home.log_data)
        own_key, _ = bytes_of(home.owner, account_id)
        stored = {content[:64] for file, content in objects_in(tmp_path).items() if account_id in str(file)}
        assert len(sealed) >= 9
        assert len(stored) >= 2, "a chunk and an archive"
        halves = [key[: len(key) // 2], key[len(key) // 2 :]]  # a page of the write-ahead log may end in between
        assert places(tmp_path, holding([tmp_path], halves)), "the key is found while it is there"
        erase(home, account)
        assert [
            row for table in every_row(home.log_data, PROCESSOR).values() for row in table for each in SAID if each in row
        ] == []
        assert log_data.scalar("SELECT count(*) FROM log_accounts") == 0
        for owner in (home.owner, home.log_data):
            analyse(owner)
        put_down(home)
    tidy(tmp_path)
    assert traces([tmp_path], SAID) == {}
    assert [file for file in objects_in(tmp_path) if account_id in str(file)] == []
    assert holding([tmp_path], stored) == {}, "nor the sealed objects"
    # PostgreSQL's write-ahead log still has what was written until it is written over: see docs/retention.md.
    assert places(tmp_path, holding([tmp_path], [key, own_key, *sealed])) <= {LOG}
