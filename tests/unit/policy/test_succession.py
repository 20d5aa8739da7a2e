"""A version of the policy takes effect at the beginning of its day, and not when its file is installed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cloudpriv.bootstrap import build, build_processor
from cloudpriv.policy.reading import PolicyError
from cloudpriv.policy.register import IN_FORCE, load
from cloudpriv.policy.succession import Policies, load_policies
from tests.holders import Time
from tests.stack import TestDatabase
from tests.unit.rights.test_announcements import changed

DAY = datetime(2026, 12, 1, tzinfo=UTC)
EVE = DAY - timedelta(microseconds=1)
FIRST = load()


def written(tmp_path: Path, valid_from: str = "2026-12-01", version: str | None = None) -> str:
    """The file of a version."""
    text = IN_FORCE.read_text(encoding="utf-8")
    text = text.replace('version = "2023-03-30"', f'version = "{version or valid_from}"', 1)
    path = tmp_path / f"{valid_from}-{version}.toml"
    path.write_text(text.replace("valid_from = 2023-03-30", f"valid_from = {valid_from}", 1), encoding="utf-8")
    return str(path)


def test_a_version_takes_the_other_s_place_at_the_first_moment_of_its_day(tmp_path: Path) -> None:
    policies = Policies(FIRST, following := changed(tmp_path, "2026-12-01"))
    assert (policies.at(EVE), policies.after(EVE), policies.known(EVE)) == (FIRST, following, (FIRST, following))
    assert (policies.at(DAY), policies.after(DAY), policies.known(DAY)) == (following, None, (following,))


def test_the_day_is_that_of_utc_wherever_the_clock_stands(tmp_path: Path) -> None:
    policies, east = Policies(FIRST, changed(tmp_path, "2026-12-01")), timezone(timedelta(hours=9))
    assert policies.at(datetime(2026, 12, 1, 8, 59, tzinfo=east)) == FIRST
    assert policies.at(datetime(2026, 12, 1, 9, 0, tzinfo=east)) != FIRST


def test_without_a_next_version_the_first_stays_in_force() -> None:
    assert (Policies(FIRST).at(DAY), Policies(FIRST).after(DAY), Policies(FIRST).known(DAY)) == (FIRST, None, (FIRST,))


def test_a_version_whose_day_has_not_come_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(PolicyError) as refused:
        load_policies(path, None, EVE, prefix="CLOUDPRIV_PROCESSOR_")
    told = str(refused.value)
    assert told.startswith("2026-12-01-None.toml is in force from 2026-12-01 only: until then name it in ")
    assert "CLOUDPRIV_PROCESSOR_NEXT_POLICY_FILE, and in CLOUDPRIV_PROCESSOR_POLICY_FILE the version before it" in told
    assert str(tmp_path) not in told
    assert load_policies(path, None, DAY, prefix="CLOUDPRIV_").at(DAY).version == "2026-12-01"


def test_both_files_are_read_at_the_start(tmp_path: Path) -> None:
    policies = load_policies(None, written(tmp_path), EVE, prefix="CLOUDPRIV_")
    assert [each.version for each in policies.known(EVE)] == ["2023-03-30", "2026-12-01"]


def test_a_process_started_after_the_day_has_the_next_version_in_force(tmp_path: Path) -> None:
    policies = load_policies(None, written(tmp_path), DAY, prefix="CLOUDPRIV_")
    assert [each.version for each in policies.known(DAY)] == ["2026-12-01"]


def test_a_next_version_with_faults_is_refused_at_the_start_and_not_on_its_day(tmp_path: Path) -> None:
    path = Path(written(tmp_path))
    path.write_text("version = 7\n")
    with pytest.raises(PolicyError, match="is not a valid policy"):
        load_policies(None, str(path), EVE, prefix="CLOUDPRIV_")


@pytest.mark.parametrize("valid_from", ["2023-03-29", "2023-03-30"])
def test_a_next_version_that_is_no_later_is_refused(tmp_path: Path, valid_from: str) -> None:
    with pytest.raises(PolicyError, match=f"valid from {valid_from}, and the policy in force from 2023-03-30"):
        load_policies(None, written(tmp_path, valid_from, "other"), DAY, prefix="CLOUDPRIV_")


def test_a_next_version_under_the_name_of_the_one_in_force_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"has the version of the policy in force, 2023-03-30"):
        load_policies(None, written(tmp_path, version="2023-03-30"), EVE, prefix="CLOUDPRIV_")


def test_a_file_that_is_still_named_as_next_once_it_is_in_force_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_policies(path, path, DAY, prefix="CLOUDPRIV_") == load_policies(path, None, DAY, prefix="CLOUDPRIV_")


def test_no_process_of_either_plane_starts_on_a_version_whose_day_has_not_come(
    database: TestDatabase, tmp_path: Path
) -> None:
    path = written(tmp_path)
    for refused in (
        lambda: build(replace(database.settings("api"), policy_file=path), now=lambda: EVE),
        lambda: build_processor(replace(database.processor_settings("worker"), policy_file=path), now=lambda: EVE),
    ):
        with pytest.raises(PolicyError, match="NEXT_POLICY_FILE"):
            refused()


def test_running_processes_of_both_planes_change_over_by_themselves(database: TestDatabase, tmp_path: Path) -> None:
    path, time = written(tmp_path), Time(EVE)
    planes = (
        build(replace(database.settings("worker"), next_policy_file=path), now=time),
        build_processor(replace(database.processor_settings("api"), next_policy_file=path), now=time),
    )
    assert [each.policy.version for each in planes] == ["2023-03-30", "2023-03-30"]
    time.now = DAY
    assert [each.policy.version for each in planes] == ["2026-12-01", "2026-12-01"]
