"""A faulty policy file: every fault is named, by line and key, and all of them at once."""

from pathlib import Path

import pytest

from cloudpriv.policy.reading import PolicyError, Problem
from cloudpriv.policy.register import IN_FORCE, load

ORIGINAL = IN_FORCE.read_text()


def faults_of(text: str | bytes, folder: Path) -> list[Problem]:
    path = folder / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError) as caught:
        load(path)
    return list(caught.value.problems)


def changed(original: str, faulty: str) -> str:
    """The policy in force with the first occurrence of `original` changed."""
    assert original in ORIGINAL
    return ORIGINAL.replace(original, faulty, 1)


def line_of(text: str, sought: str, after: str = "") -> int:
    return text.count("\n", 0, text.index(sought, text.index(after))) + 1


LANGUAGES = 'languages = ["en", "sv", "fr", "es"]'
SOLD = 'text.sv = "Personuppgifter säljs aldrig till någon tredje part."'


@pytest.mark.parametrize(
    ("key", "original", "faulty", "reason"),
    [
        ("sharing.recipients[0].rule", 'role = "internal"', 'rule = "internal"', "unknown key"),
        ("sharing.recipients[0].role", 'role = "internal"', 'role = "friend"', "Invalid enum value 'friend'"),
        ("activities[7].retention.period", 'period = "P6M"', 'period = "6 months"', "not an ISO 8601 period"),
        ("activities[0].retention.period", 'period = "P7Y"', 'period = "-P7Y"', "not an ISO 8601 period"),
        ("activities[0].retention.period", 'period = "P7Y"', "period = 7", "Expected `str`, got `int`"),
        ("activities[0].retention.anchor", 'anchor = "last_t', 'anchor = "first_t', "not among the anchors"),
        ("activities[0].retention.kind", 'kind = "fixed"', 'kind = "ever"', "Invalid enum value 'ever'"),
        ("activities[10].retention.round", '"end_of_year"', '"end_of_week"', "Invalid enum value"),
        ("activities[9].retention.at_most", "at_most = true", "at_most = 1", "Expected `bool`, got `int`"),
        ("activities[2].services[0]", 'services = ["general"]', 'services = ["g"]', "not among the services"),
        ("activities[0].lawful_basis[0].basis", 'basis = "leg', 'basis = "illeg', "among the lawful_bases"),
        ("services[1].controller", 'controller = "hms_sa"', 'controller = "h"', "not among the controllers"),
        ("controllers[2].key", 'key = "hms_slu"', 'key = "hms_sa"', "duplicate key 'hms_sa'"),
        ("controllers[2].key", 'key = "hms_slu"', 'key = "HMS"', "regex"),
        ("controllers[2].country", 'country = "ES"', 'country = "FR"', "Invalid enum value 'FR'"),
        ("activities[12].key", 'key = "crm"', 'key = "orders"', "duplicate key 'orders'"),
        ("activities[0].data[4].key", 'key = "credentials"', 'key = "account"', "duplicate key 'account'"),
        ("housekeeping[0].key", 'key = "export_archives"', 'key = "crm"', "duplicate key 'crm'"),
        ("housekeeping[8].plane", 'plane = "processor"', 'plane = "third"', "Invalid enum value 'third'"),
        ("processor.sub_processors[0]", '["it_providers"]', '["friends"]', "not among the sharing.recipients"),
        ("processor.text.sv", 'text.sv = "Loggdata tillhör', 'text.sv = "" #', "missing translation"),
        ("processor.categories[0].rule", 'key = "storage"', 'rule = "storage"', "unknown key"),
        ("rights[0].article", 'article = "15"', 'article = "fifteen"', "regex"),
        ("valid_from", "valid_from = 2023-03-30", 'valid_from = "30/3"', "Invalid"),
        ("supervisory_authority.website", "https://www.imy.se", "imy.se", "regex"),
        ("supervisory_authority.address", '["Box 8114", "104 20 Stockholm"]', '"Box 8114"', "must be a list"),
        ("sharing.statements[0].text.de", SOLD, 'text.de = "niemals"', "not one of the languages"),
        ("sharing.statements[0].text.sv", SOLD, 'text.sv = " "', "missing translation"),
        ("sharing.statements[0].text.sv", SOLD, "text.sv = 1", "missing translation"),
    ],
)
def test_a_fault_is_named_by_its_line_and_key(key: str, original: str, faulty: str, reason: str, tmp_path: Path) -> None:
    text = changed(original, faulty)
    [problem] = [each for each in faults_of(text, tmp_path) if each.key == key]
    assert reason in problem.reason
    line = text.split("\n")[problem.line - 1]
    assert faulty in line or line.endswith(" = [")  # in a list over several lines: where that begins


def test_a_service_without_a_controller_is_refused(tmp_path: Path) -> None:
    text = changed('controller = "hms_sa"\n', "")
    [problem] = faults_of(text, tmp_path)
    table = line_of(text, "[[services]]", after='key = "general"')
    assert problem == Problem(table, "services[1].controller", "missing")


def test_a_missing_translation_is_refused_where_the_text_stands(tmp_path: Path) -> None:
    text = changed(', sv = "Tre år."', "")
    [problem] = faults_of(text, tmp_path)
    assert problem == Problem(line_of(text, "Three years."), "activities[6].retention.text.sv", "missing translation")


def test_a_language_that_is_added_asks_for_every_text(tmp_path: Path) -> None:
    problems = faults_of(changed(LANGUAGES, LANGUAGES.replace("[", '["de", ')), tmp_path)
    assert len(problems) > 150
    assert {each.reason for each in problems} == {"missing translation"}


def test_without_languages_no_text_is_judged(tmp_path: Path) -> None:
    assert faults_of(changed(f"{LANGUAGES}\n", ""), tmp_path) == [Problem(1, "languages", "missing")]


@pytest.mark.parametrize(
    ("original", "changed_to", "reason"),
    [
        ('anchor = "last_traffic"\n', "", "an anchor belongs to a rule"),
        ('period = "P7Y"\n', "", "a period belongs to a fixed rule"),
    ],
)
def test_a_rule_that_contradicts_itself_is_named_by_its_table(
    original: str, changed_to: str, reason: str, tmp_path: Path
) -> None:
    text = changed(original, changed_to)
    [problem] = faults_of(text, tmp_path)
    assert (problem.line, problem.key) == (line_of(text, "[activities.retention]"), "activities[0].retention")
    assert reason in problem.reason


def test_what_the_service_keeps_for_itself_needs_a_period(tmp_path: Path) -> None:
    text = changed('kind = "fixed"\nperiod = "P7D"\nanchor', 'kind = "until"\nanchor')
    [problem] = faults_of(text, tmp_path)
    assert (problem.line, problem.key) == (line_of(text, "[[housekeeping]]"), "housekeeping[0]")
    assert "fixed period" in problem.reason


def test_a_sub_processor_that_is_no_processor_is_refused(tmp_path: Path) -> None:
    [problem] = faults_of(changed('sub_processors = ["it_providers"]', 'sub_processors = ["carriers"]'), tmp_path)
    assert "recipient in the role of processor" in problem.reason


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = (
        ORIGINAL.replace('country = "ES"', 'country = "FR"')
        .replace('period = "P45D"', 'period = "P45"')
        .replace('controller = "hms_sa"\n', "")
        .replace("at_most = true", "at_most = 1\nhistory = 1")
    )
    problems = faults_of(text, tmp_path)
    assert [each.key for each in problems] == [
        "controllers[2].country",
        "services[1].controller",
        "activities[9].retention.period",
        "activities[9].retention.at_most",
        "activities[9].retention.history",
        "activities[11].retention.at_most",
        "activities[11].retention.history",
    ]
    lines = [each.line for each in problems]
    assert lines == sorted(lines)


def test_the_message_names_the_file_but_not_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(changed('country = "ES"', 'country = "FR"'))
    with pytest.raises(PolicyError) as caught:
        load(path)
    line = line_of(path.read_text(), 'country = "FR"')
    assert str(caught.value) == (
        f"policy.toml is not a valid policy\nline {line}: controllers[2].country: Invalid enum value 'FR'"
    )


@pytest.mark.parametrize(
    ("spoilt", "line"),
    [
        ("version = \n", 1),
        ('version = "1"\nversion = "2"\n', 2),
        ('version = "1"\n[[controllers]\n', 2),
        ('version = "1"\ntitle = """\n never ended\n', 4),
        (b'version = "1"\ntitle = "\xff"\n', 2),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_the_line(spoilt: str | bytes, line: int, tmp_path: Path) -> None:
    [problem] = faults_of(spoilt, tmp_path)
    assert (problem.line, problem.key) == (line, "")


def test_an_empty_file_misses_every_required_key(tmp_path: Path) -> None:
    problems = faults_of("", tmp_path)
    assert {each.reason for each in problems} == {"missing"}
    assert {"version", "controllers", "activities", "rights"} <= {each.key for each in problems}


def test_a_table_where_a_list_is_wanted_and_the_reverse_are_refused(tmp_path: Path) -> None:
    start = 'version = "1"\nlanguages = ["en"]\ntitle = "plain"\n'
    keys = {each.key: each for each in faults_of(start + "[controllers]\nkey = 1\n[[sharing]]\n", tmp_path)}
    assert (keys["controllers"].line, keys["controllers"].reason) == (4, "must be a list that is not empty")
    assert (keys["sharing"].line, keys["sharing"].reason) == (6, "must be a table")
    assert (keys["title"].line, keys["title"].reason) == (3, "must be a text in every language of the policy")


def test_lines_are_right_after_texts_and_lists_over_several_lines(tmp_path: Path) -> None:
    text = '# x = 1\nversion = """\nother = 0\n[no.table]"""\nlanguages = [\n  "en", # ]\n]\n\nother = 1\n'
    for ending in ("\n", "\r\n"):
        lines = {each.key: each.line for each in faults_of(text.replace("\n", ending), tmp_path)}
        assert (lines["other"], lines["title"]) == (9, 1)
