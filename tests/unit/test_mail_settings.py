"""The settings of mail: either none, or a server and an address; a fault is one line that repeats no secret."""

import pytest

from cloudpriv.config import SettingsError, load
from tests.stack import TestDatabase

SECRET = "hunter2"


@pytest.fixture
def environment(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with every other setting."""
    for name, value in database.environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_without_a_server_no_address_is_needed(environment: pytest.MonkeyPatch) -> None:
    assert (load("worker").smtp_url, load("worker").mail_from) == (None, None)


def test_a_server_and_an_address_are_taken(environment: pytest.MonkeyPatch) -> None:
    url = f"smtp://kim:{SECRET}@mail.example:587"
    environment.setenv("CLOUDPRIV_SMTP_URL", url)
    environment.setenv("CLOUDPRIV_MAIL_FROM", "no-reply@cloud.example")
    settings = load("worker")
    assert (settings.smtp_url, settings.mail_from) == (url, "no-reply@cloud.example")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("url", "sender", "told"),
    [
        (f"smtp://kim:{SECRET}@mail.example", None, "CLOUDPRIV_MAIL_FROM: is needed with CLOUDPRIV_SMTP_URL"),
        (f"http://kim:{SECRET}@mail.example", "a@b.example", "CLOUDPRIV_SMTP_URL: must be smtp:// or smtps://"),
        (f"smtp://kim:{SECRET}@mail.example:99999", "a@b.example", "CLOUDPRIV_SMTP_URL: must be smtp:// or smtps://"),
        (f"smtp://kim:{SECRET}@mail.example", "Cloud <a@b.example>", "CLOUDPRIV_MAIL_FROM: must be one e-mail address"),
    ],
)
def test_a_fault_is_one_line_without_the_secret(
    environment: pytest.MonkeyPatch, url: str, sender: str | None, told: str
) -> None:
    environment.setenv("CLOUDPRIV_SMTP_URL", url)
    if sender is not None:
        environment.setenv("CLOUDPRIV_MAIL_FROM", sender)
    with pytest.raises(SettingsError) as caught:
        load("worker")
    assert str(caught.value).startswith(told)
    assert (SECRET in str(caught.value), "\n" in str(caught.value)) == (False, False)
