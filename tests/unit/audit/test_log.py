"""The log: what enters it, and what is signed of it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudpriv.audit import certificates, log, notes
from cloudpriv.bootstrap import Services
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, make_account, transaction

KEY = Ed25519PrivateKey.generate()


def test_what_was_done_is_logged_once_and_signed(worker_services: Services, services: Services) -> None:
    make_account(services)
    purge_id = new_id()
    with transaction(worker_services) as tx:
        issued = certificates.issue(tx, KEY, purge_id=purge_id, service="talk2m", body={"counts": {"traffic": 1}})
        again = certificates.issue(tx, KEY, purge_id=purge_id, service="talk2m", body={"counts": {"traffic": 2}})
        assert issued == again
    assert log.advance(worker_services.controller, worker_services.ledger, KEY, "example.com", lambda: NOW) == 2
    assert log.advance(worker_services.controller, worker_services.ledger, KEY, "example.com", lambda: NOW) == 0
    with transaction(services) as tx:
        note = log.newest_checkpoint(tx)
        assert note
        assert notes.verify(note, [notes.read_verifier_key(log.verifier_keys(tx)[0])]).startswith("example.com/log/1\n3\n")
        assert not log.is_behind(tx, worker_services.ledger)
