"""What a page says about the change that led to it: nobody can have it say what did not happen."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.holders import Holder, Time
from tests.portal.reading import Page

PAGE = "/portal/identity"
FORM = {"name": "Kim Sample", "address": "", "phones": "", "company_name": "", "company_id": "", "locale": ""}


def changed(holder: Holder) -> str:
    """The address that a change leads to."""
    version = Page(holder.get(PAGE).text).all("input", name="version")[0].attributes["value"]
    answer = holder.post(PAGE, **FORM, version=version)
    assert answer.status_code == 303
    return str(answer.location)


def told(holder: Holder, address: str) -> list[str]:
    """What the page confirms."""
    answer = holder.get(address)
    assert answer.status_code == 200
    return [" ".join(each.text.split()) for each in Page(answer.text).all("div", role="status")]


def test_the_page_that_a_change_leads_to_confirms_it(kim: Holder) -> None:
    address = changed(kim.sign_in())
    assert urlsplit(address).path == PAGE
    assert told(kim, address) == ["Changed: name."]
    assert told(kim, PAGE) == []


@pytest.mark.parametrize(
    "query",
    [
        "said=name",
        "said=undone",
        "said=~~",
        "said=%C3%A5~1~%C3%A5",
        "said=name~9999999999~00",
        "changed=name",
        "said=",
        "said=~",
    ],
)
@pytest.mark.parametrize("page", [PAGE, "/portal/closing", "/portal/consents"])
def test_an_address_that_somebody_wrote_says_nothing(kim: Holder, page: str, query: str) -> None:
    assert told(kim.sign_in(), f"{page}?{query}") == []


def test_what_was_said_to_one_is_not_said_to_another_nor_on_another_page_nor_in_other_words(
    kim: Holder, alex: Holder
) -> None:
    address = changed(kim.sign_in())
    assert told(alex.sign_in(), address) == []
    elsewhere = kim.elsewhere().sign_in()
    assert told(elsewhere, address) == []
    assert told(kim, address.replace(PAGE, "/portal/consents")) == []
    assert told(kim, address.replace("said=name", "said=address")) == []
    assert told(kim, address) != []


def test_it_is_said_for_a_minute(kim: Holder, time: Time) -> None:
    address = changed(kim.sign_in())
    time.pass_by(seconds=59)
    assert told(kim, address) != []
    time.pass_by(seconds=1)
    assert told(kim, address) == []


def test_the_address_holds_words_of_ours_a_time_and_a_signature_alone(kim: Holder) -> None:
    [said] = parse_qs(urlsplit(changed(kim.sign_in())).query)["said"]
    words, until, signature = said.split("~")
    assert words == "name"
    assert until.isdecimal()
    assert len(bytes.fromhex(signature)) == 32
