"""A lease is renewed beside the work, whatever ails one renewal; nothing of the fault's text is told."""

from threading import Event

from structlog.testing import capture_logs

from cloudpriv.platform.renewal import renewed


def test_a_renewal_that_fails_in_any_way_is_tried_again() -> None:
    tries, again = [], Event()

    def renew() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("somebody@example.com")
        again.set()
        return False

    with capture_logs() as told, renewed(renew, 0, "a-task"):
        assert again.wait(60)
    [line] = told
    assert (line["event"], line["log_level"], line["subject"]) == ("lease_not_renewed", "error", "a-task")
    assert line["fault"] == "KeyError"
    assert line["place"].startswith("cloudpriv.platform.renewal:")
    assert "somebody" not in str(told)
