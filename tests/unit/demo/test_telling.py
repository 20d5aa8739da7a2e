"""Steps are shown as they end, and a failing one says which it is."""

import pytest

from cloudpriv.demo.telling import StepFailed, Telling, require
from cloudpriv.platform.errors import BusyError


def test_a_step_is_shown_with_what_it_did_and_its_details(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling()
    with telling.step("open accounts") as step:
        step.did = "3 of them"
        step.lines.append("one more thing")
        assert not capsys.readouterr().out
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(" 1  open accounts: 3 of them (0.")
    assert shown[1].strip() == "one more thing"


def test_steps_are_numbered_and_stand_in_the_table_with_their_times(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling()
    for title in ("first", "second"):
        with telling.step(title) as step:
            step.did = f"{title} [thing]"
    capsys.readouterr()
    telling.table()
    table = capsys.readouterr().out
    for row in (("1", "first", "first [thing]", "0.0"), ("2", "second", "second [thing]", "0.0")):
        assert any([cell.strip() for cell in line.split("│")[1:-1]] == list(row) for line in table.splitlines())


def test_a_silent_telling_prints_nothing_and_keeps_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling(silent=True)
    with telling.step("export") as step:
        step.did = "done"
        step.figures["size"] = 12
    telling.table()
    assert not capsys.readouterr().out
    told = telling.steps[0].as_dict()
    assert (told["step"], told["title"], told["did"], told["size"]) == (1, "export", "done", 12)
    assert told["seconds"] >= 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("does not add up\nsecond line"), "does not add up"),
        (BusyError(), BusyError.detail),
        (KeyError(), "KeyError"),
    ],
)
def test_a_failing_step_says_which_it_is_and_why_in_one_line(fault: Exception, reason: str) -> None:
    telling = Telling(silent=True)
    with telling.step("first"):
        pass
    with pytest.raises(StepFailed) as failed, telling.step("second"):
        raise fault
    assert str(failed.value) == f"step 2 (second) failed: {reason}"
    assert [step.title for step in telling.steps] == ["first"]


def test_an_interrupt_is_no_failure_of_a_step() -> None:
    with pytest.raises(KeyboardInterrupt), Telling(silent=True).step("first"):
        raise KeyboardInterrupt


def test_what_must_hold_is_told_where_it_does_not() -> None:
    require(True, "unseen")
    with pytest.raises(ValueError, match="seen"):
        require(False, "seen")
