"""Disclosures: recorded where chapter V of the GDPR allows them, refused elsewhere, shown to whom they concern."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase
from cloudpriv.platform.errors import InvalidError, NotFoundError, TransferRefusedError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import disclosures, erasure, restriction, telling
from cloudpriv.rights.disclosures import ADEQUACY, CLAUSES, safeguard_of
from tests.disclosed import ALL, disclose, holder
from tests.factories import NOW, make_account, make_person, transaction
from tests.stack import every_row


@pytest.mark.parametrize(
    ("country", "named", "recorded"),
    [
        ("SE", None, None),
        ("NO", None, None),
        ("IS", CLAUSES, None),  # within the Area nothing is needed
        ("CH", None, ADEQUACY),
        ("BR", None, ADEQUACY),
        ("GB", ADEQUACY, ADEQUACY),
        ("JP", CLAUSES, CLAUSES),
        ("US", ADEQUACY, ADEQUACY),  # whoever records it says that the recipient is covered
        ("CA", CLAUSES, CLAUSES),
        ("IN", CLAUSES, CLAUSES),
    ],
)
def test_a_transfer_that_chapter_v_allows_has_its_safeguard(
    services: Services, country: str, named: str | None, recorded: str | None
) -> None:
    assert safeguard_of(services.policy, country, named) == recorded


@pytest.mark.parametrize(("country", "named"), [("IN", None), ("IN", ADEQUACY), ("US", None), ("CA", None), ("CN", None)])
def test_a_transfer_that_nothing_allows_is_refused_and_leaves_nothing(
    services: Services, owner_engine: Engine, country: str, named: str | None
) -> None:
    account_id = make_account(services).row.account_id
    with pytest.raises(TransferRefusedError):
        disclose(services, account_id, country=country, safeguard=named)
    assert every_row(owner_engine)["disclosures"] == []


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"categories": []}, "/categories"),
        ({"categories": ["operation"]}, "/categories"),
        ({"categories": ["identification", "log_data"]}, "/categories"),
        ({"disclosed_at": NOW + timedelta(seconds=1)}, "/disclosed_at"),
        ({"person_id": new_id()}, "/person_id"),
        ({"email": "two@example.com, more@example.com"}, "/email"),
        ({"safeguard": "goodwill", "country": "IN"}, "/safeguard"),
    ],
)
def test_what_does_not_fit_is_pointed_at(services: Services, members: dict[str, Any], pointer: str) -> None:
    account_id = make_account(services).row.account_id
    with pytest.raises(InvalidError) as refusal:
        disclose(services, account_id, **members)
    assert [error.pointer for error in refusal.value.errors] == [pointer]


def test_categories_are_those_that_exports_show() -> None:
    assert exported_categories(ControllerBase.metadata) == set(ALL)


def test_a_disclosure_is_sealed_listed_and_audited(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    made = disclose(services, account_id, recipient="canary-recipient", reference="canary-reference")
    with transaction(services) as tx:
        [listed] = disclosures.list_disclosures(tx, account_id, limit=10)
        read = disclosures.read_disclosure(tx, account_id, made.row.disclosure_id)
    assert listed.details == read.details == made.details
    assert read.details["recipient"] == "canary-recipient"
    rows = every_row(owner_engine)
    assert not [row for table in rows.values() for row in table if "canary" in row]
    for action in ("disclosure.create", "disclosure.list", "disclosure.read"):
        assert any(action in row for row in rows["audit_events"]), action


def test_pages_of_disclosures_follow_each_other(services: Services) -> None:
    account_id = make_account(services).row.account_id
    made = [disclose(services, account_id).row.disclosure_id for _ in range(3)]
    with transaction(services) as tx:
        first = disclosures.list_disclosures(tx, account_id, limit=1)
        rest = disclosures.list_disclosures(tx, account_id, after=first[0].row.disclosure_id, limit=5)
    assert len(first) == 2
    assert [each.row.disclosure_id for each in (first[0], *rest)] == made


def test_a_member_sees_what_is_about_them_and_about_the_whole_account(services: Services) -> None:
    account_id = make_account(services).row.account_id
    one, other = (make_person(services, account_id).row.person_id for _ in range(2))
    whole, own, others = (disclose(services, account_id, person_id=each).row.disclosure_id for each in (None, one, other))
    with transaction(services, holder(account_id, one, "member")) as tx:
        listed = disclosures.list_disclosures(tx, account_id, limit=10)
        assert disclosures.read_disclosure(tx, account_id, whole)
        with pytest.raises(NotFoundError):
            disclosures.read_disclosure(tx, account_id, others)
    assert [each.row.disclosure_id for each in listed] == [whole, own]
    with transaction(services, holder(account_id, one)) as tx:
        assert len(disclosures.list_disclosures(tx, account_id, limit=10)) == 3


def test_a_restricted_accounts_disclosures_are_recorded_and_read(services: Services) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        restriction.restrict_account(tx, account_id)
    disclose(services, account_id)
    with transaction(services) as tx:
        assert len(disclosures.list_disclosures(tx, account_id, limit=10)) == 1


def test_what_was_disclosed_of_somebody_who_was_erased_is_told_of_nobody_else(services: Services) -> None:
    account_id = make_account(services).row.account_id
    kim, robin = (make_person(services, account_id).row for _ in range(2))
    found = disclose(services, account_id, person_id=robin.person_id).row.disclosure_id
    with transaction(services) as tx:
        erasure.erase_person(tx, account_id, robin.person_id, robin.version)
    with transaction(services, holder(account_id, kim.person_id, "member")) as tx:
        assert disclosures.list_disclosures(tx, account_id, limit=10) == []
        with pytest.raises(NotFoundError):
            disclosures.read_disclosure(tx, account_id, found)
    with transaction(services) as tx:
        assert telling.notify(tx, account_id, "restriction", ALL, person_id=kim.person_id) == []
        assert len(telling.notify(tx, account_id, "restriction", ALL)) == 1
