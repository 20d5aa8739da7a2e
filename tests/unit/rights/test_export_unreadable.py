"""An export whose account has a key that does not open: it fails for staff to see, instead of being begun for ever."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.keys import KeyFault
from cloudpriv.rights import export
from cloudpriv.rights.cases import deadlines
from cloudpriv.rights.leases import ATTEMPTS, LEASE
from tests.exports import ask, run
from tests.factories import NOW, make_account, transaction


def test_an_export_whose_key_does_not_open_is_given_up_and_told_to_staff(services: Services, owner_engine: Engine) -> None:
    export_id, now = ask(services, make_account(services).row.account_id), NOW
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE account_keys SET wrapped = decode('00', 'hex')"))
    for _ in range(ATTEMPTS):
        with transaction(services, now=now) as tx:
            assert (export.unfinished(tx), deadlines.pressing(tx).failed) == ([export_id], [])
        with pytest.raises(KeyFault):
            run(services, export_id, now)
        with transaction(services, now=now) as tx:
            assert export.unfinished(tx) == [], "it is not begun again at once"
        now += LEASE + timedelta(seconds=1)
    with transaction(services, now=now) as tx:
        assert export.unfinished(tx) == []
        assert len(deadlines.pressing(tx).failed) == 1
