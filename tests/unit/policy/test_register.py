"""The policy in force: complete, in all its languages, and with the rules that machines act on."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloudpriv.policy.periods import Period, parse_period
from cloudpriv.policy.register import IN_FORCE, Policy, choose_language, load
from cloudpriv.policy.schema import Retention

POLICY = load()

# The table of the policy, row by row, as its readers know it: lawful bases, kind, period, anchor, rounding.
ACTIVITIES = {
    "customer_surveys": ({"legitimate_interest", "consent"}, "not_stated", None, None, None),
    "events": ({"not_stated"}, "not_stated", None, None, None),
    "food_preferences": ({"necessary"}, "until", None, "event_end", None),
    "forums_and_social_media": ({"consent"}, "not_stated", None, None, None),
    "web_analytics": ({"no_personal_data"}, "fixed", "P3Y", "collected", None),
    "web_server_logs": ({"legitimate_interest"}, "fixed", "P6M", "collected", None),
    "marketing_automation": ({"consent"}, "not_stated", None, None, None),
    "live_chat": ({"consent"}, "fixed", "P45D", "chat_end", None),
    "orders": ({"necessary"}, "fixed", "P7Y", "last_contact", "end_of_year"),
    "financial_transactions": ({"legal_obligation"}, "fixed", "P10Y", "transaction", "end_of_year"),
    "cloud_services": ({"legitimate_interest"}, "fixed", "P7Y", "last_traffic", None),
    "cloud_log_data": ({"on_instruction"}, "customer_decides", None, None, None),
    "crm": ({"legitimate_interest", "consent"}, "fixed", "P7Y", "last_activity", None),
    "customer_support": ({"legitimate_interest"}, "fixed", "P7Y", "last_contact", None),
    "marketing_mail": ({"legitimate_interest", "consent"}, "until", None, "unsubscribed", None),
}
RIGHTS = {
    "access": "15",
    "rectification": "16",
    "erasure": "17",
    "restriction": "18",
    "portability": "20",
    "objection": "21",
    "withdrawal_of_consent": "7(3)",
    "complaint": "77",
}
# Words that a language shares with English.
SAME_WORD = [("marketing", ["es"]), ("Rectification", ["fr"])]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def texts_of(value: Any) -> list[Mapping[str, str]]:
    """Every text of the policy, wherever it stands."""
    if isinstance(value, msgspec.Struct):
        return [text for field in value.__struct_fields__ for text in texts_of(getattr(value, field))]
    if isinstance(value, tuple):
        return [text for each in value for text in texts_of(each)]
    return [value] if isinstance(value, Mapping) else []


def test_the_version_in_force_is_that_of_30_march_2023() -> None:
    assert (POLICY.version, POLICY.valid_from) == ("2023-03-30", date(2023, 3, 30))


def test_every_activity_of_the_policy_stands_in_the_register_with_its_basis_and_clock() -> None:
    found = {
        activity.key: (
            {ground.basis for ground in activity.lawful_basis},
            activity.retention.kind,
            str(activity.retention.period) if activity.retention.period else None,
            activity.retention.anchor,
            activity.retention.round,
        )
        for activity in POLICY.activities
    }
    assert found == ACTIVITIES


def test_only_log_data_is_processed_on_behalf_of_the_customer() -> None:
    assert [each.key for each in POLICY.activities if each.role == "processor"] == ["cloud_log_data"]


def test_the_cloud_services_hold_the_five_categories_and_no_more() -> None:
    [cloud] = [each for each in POLICY.activities if each.key == "cloud_services"]
    categories = ["identification", "account", "devices", "traffic_metadata", "credentials"]
    assert [each.key for each in cloud.data] == categories
    assert cloud.services == ("talk2m", "intesis")


@pytest.mark.parametrize(
    ("service", "name", "country", "place"),
    [
        ("talk2m", "HMS Industrial Networks SA", "BE", "1400 Nivelles"),
        ("intesis", "HMS Industrial Networks SLU", "ES", "08700 Igualada"),
        ("general", "HMS Industrial Networks AB", "SE", "300 04 Halmstad"),
    ],
)
def test_the_controller_follows_from_the_service(service: str, name: str, country: str, place: str) -> None:
    controller = POLICY.controller_of(service)
    assert (controller.name, controller.country, controller.address[-1]) == (name, country, place)
    assert controller.attention["en"] == "Data protection officer"


def test_an_unknown_service_has_no_controller_and_an_unknown_activity_no_rule() -> None:
    with pytest.raises(KeyError):
        POLICY.controller_of("other")
    with pytest.raises(KeyError):
        POLICY.rule_for("other")


def test_the_rule_of_the_purge_is_seven_years_without_traffic() -> None:
    rule = POLICY.rule_for("cloud_services")
    assert (rule.period, rule.anchor, rule.then) == (Period(years=7), "last_traffic", "erase")
    assert rule.erasable_from(at("2019-03-10T12:00:00Z")) == at("2026-03-11T00:00:00Z")
    assert rule.anchor_cutoff(at("2026-03-11T00:00:00Z")) == at("2019-03-11T00:00:00Z")


def test_orders_are_erased_at_the_end_of_the_year_and_support_cases_made_anonymous() -> None:
    assert POLICY.rule_for("orders").erasable_from(at("2018-05-01T12:00:00Z")) == at("2026-01-01T00:00:00Z")
    assert POLICY.rule_for("customer_support").then == "anonymise"
    assert [each.key for each in POLICY.activities if each.retention.at_most] == [
        "live_chat",
        "financial_transactions",
    ]


def test_what_the_service_keeps_for_itself_has_rules_too() -> None:
    assert {each.key: str(each.retention.period) for each in POLICY.housekeeping} == {
        "export_archives": "P7D",
        "idempotency_keys": "PT24H",
        "ended_mails": "P30D",
        "proposed_plans": "P7D",
        "cancelled_purges": "P1Y",
        "finished_requests": "P3Y",
        "portal_sessions": "PT12H",
        "one_time_codes": "PT1H",
        "log_batches": "P30D",
        "log_exports": "P7D",
        "log_transactions": "P30D",
        "log_requests": "P3Y",
    }
    of_log_data = [each.key for each in POLICY.housekeeping if each.plane == "processor"]
    assert of_log_data == ["log_batches", "log_exports", "log_transactions", "log_requests"]
    kept = POLICY.rule_for("idempotency_keys")
    assert kept.erasable_from(at("2026-03-01T08:30:00Z")) == at("2026-03-02T08:30:00Z")


def test_the_processors_record_has_all_that_the_law_asks_for() -> None:
    record = POLICY.as_processor_record("en")
    assert json.loads(json.dumps(record)) == record
    assert [each["key"] for each in record["processors"]] == ["hms_sa", "hms_slu"], "those whose services keep log data"
    assert [each["key"] for each in record["sub_processors"]] == ["it_providers"]
    assert [each["article"] for each in record["transfers"]["safeguards"]] == ["45", "46(2)(c)"]
    assert all(record[name] for name in record), "nothing is left empty"
    assert set(record) == {
        "language", "policy_version", "terms", "controller", "processors", "categories", "sub_processors", "sub_processing",
        "transfers", "security", "assistance", "audits", "end",
    }  # fmt: skip
    swedish = POLICY.as_processor_record("sv")
    assert (swedish["language"], swedish["end"][0]["key"]) == ("sv", "return")
    assert swedish["end"][0]["text"].startswith("Innan kontot upphör")


def test_a_policy_that_says_nothing_of_its_terms_still_has_a_record(tmp_path: Path) -> None:
    before, _, rest = IN_FORCE.read_text().partition("[processor]\n")
    path = tmp_path / "older.toml"
    path.write_text(before + rest[rest.index("# What the service keeps for its own working") :])
    record = load(path).as_processor_record("en")
    assert (record["terms"], record["controller"]) == ({"version": None, "text": None}, None)
    assert (record["sub_processors"], record["categories"], record["end"]) == ([], [], [])
    assert [each["key"] for each in record["processors"]] == ["hms_sa", "hms_slu"]


def test_no_clock_ends_a_rule_without_a_period() -> None:
    for key in ("cloud_log_data", "customer_surveys", "food_preferences"):
        with pytest.raises(ValueError, match="no period"):
            POLICY.rule_for(key).erasable_from(datetime(2026, 1, 1, tzinfo=UTC))
        with pytest.raises(ValueError, match="no period"):
            POLICY.rule_for(key).anchor_cutoff(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "fixed", "anchor": "created"},
        {"kind": "fixed", "period": parse_period("P7Y")},
        {"kind": "until"},
        {"kind": "until", "anchor": "created", "round": "end_of_year"},
        {"kind": "until", "anchor": "created", "at_most": True},
        {"kind": "not_stated", "period": parse_period("P7Y"), "anchor": "created"},
        {"kind": "customer_decides", "anchor": "created"},
        {"kind": "fixed", "period": parse_period("PT24H"), "anchor": "created", "round": "end_of_year"},
    ],
)
def test_a_rule_that_contradicts_itself_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"period|anchor"):
        Retention(text={"en": "kept"}, **fields)


def test_every_right_of_the_data_subject_names_its_article() -> None:
    assert {each.key: each.article for each in POLICY.rights} == RIGHTS


def test_recipients_transfers_and_conditions_are_complete() -> None:
    assert {each.key: each.role for each in POLICY.sharing.recipients} == {
        "employees": "internal",
        "carriers": "separate_controller",
        "distributors": "separate_controller",
        "distributors_marketing": "separate_controller",
        "authorities": "authority",
        "it_providers": "processor",
        "marketing_partners": "processor",
        "payment_services": "processor",
    }
    assert [each.key for each in POLICY.sharing.statements] == ["never_sold"]
    safeguards = POLICY.sharing.transfers.safeguards
    assert [each.key for each in safeguards] == ["adequacy_decision", "standard_contractual_clauses"]
    conditions = [each.key for each in POLICY.exercise]
    assert conditions == ["contact", "identity", "time", "limits", "consequence"]
    assert {"changes", "source", "balance_of_interests"} <= {each.key for each in POLICY.statements}
    assert all("IMY" in name for name in POLICY.supervisory_authority.name.values())


# How the regulation itself (2016/679) names its terms in French and Spanish.
@pytest.mark.parametrize(
    ("language", "titles", "terms"),
    [
        (
            "fr",
            ["Accès", "Rectification", "Effacement", "Limitation du traitement", "Portabilité des données", "Opposition"],
            ["responsable du traitement", "sous-traitant", "personnes concernées", "autorité de contrôle",
             "clauses contractuelles types", "décision d\u2019adéquation", "données à caractère personnel"],
        ),
        (
            "es",
            ["Acceso", "Rectificación", "Supresión", "Limitación del tratamiento", "Portabilidad de los datos", "Oposición"],
            ["responsable del tratamiento", "encargado del tratamiento", "interesados", "autoridad de control",
             "cláusulas contractuales tipo", "decisión de adecuación", "datos personales"],
        ),
    ],
)  # fmt: skip
def test_the_terms_are_those_of_the_regulation(language: str, titles: list[str], terms: list[str]) -> None:
    assert [each.title[language] for each in POLICY.rights[:6]] == titles
    whole = " ".join(text[language] for text in texts_of(POLICY))
    assert [term for term in terms if term not in whole] == []


def test_every_text_is_there_in_every_language() -> None:
    texts = texts_of(POLICY)
    assert len(texts) > 150
    assert POLICY.languages == ("en", "sv", "fr", "es")
    for text in texts:
        assert tuple(text) == POLICY.languages
        assert all(written == written.strip() != "" for written in text.values())
        same = [language for language in POLICY.languages[1:] if text[language] == text["en"]]
        assert not same or (text["en"], same) in SAME_WORD, "copied, not translated?"


def test_one_text_reads_alike_wherever_it_stands() -> None:
    known: dict[str, Mapping[str, str]] = {}
    for text in texts_of(POLICY):
        assert known.setdefault(text["en"], text) == text


def test_each_language_is_written_with_its_own_marks() -> None:
    for text in texts_of(POLICY):
        assert not re.search(r"[^\u00a0][:;?!»](\s|$)|«[^\u00a0]|'", text["fr"]), (
            f"no-break spaces, curly apostrophes: {text['fr']}"
        )
        assert not re.search(r"«\s|\s»|['\u2019]", text["es"]), text["es"]
        counts = {language: re.findall(r"\d+", text[language]) for language in POLICY.languages}
        assert all(sorted(found) == sorted(counts["en"]) for found in counts.values()), f"the same figures: {counts}"


def test_the_register_is_plain_json_in_one_language() -> None:
    swedish = POLICY.as_register("sv")
    assert json.loads(json.dumps(swedish)) == swedish
    assert (swedish["language"], swedish["valid_from"]) == ("sv", "2023-03-30")
    [cloud] = [each for each in swedish["activities"] if each["key"] == "cloud_services"]
    assert cloud["title"] == "Molntjänster"
    assert (cloud["retention"]["period"], cloud["retention"]["anchor"]) == ("P7Y", "last_traffic")
    assert [(each["name"][-3:].strip(), each["services"]) for each in swedish["controllers"]] == [
        ("AB", ["general"]),
        ("SA", ["talk2m"]),
        ("SLU", ["intesis"]),
    ]
    expected = {*Policy.__struct_fields__, "language"}
    assert set(swedish) == expected


def test_the_register_differs_by_language_in_its_texts_alone() -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(each) for key, each in value.items()}
        return [shape(each) for each in value] if isinstance(value, list) else type(value)

    for language in POLICY.languages:
        assert shape(POLICY.as_register(language)) == shape(POLICY.as_register("en"))
    assert POLICY.as_register("en")["rights"][0]["title"] == "Access"
    with pytest.raises(KeyError):
        POLICY.as_register("de")


@pytest.mark.parametrize(
    ("preferred", "chosen"),
    [
        ([], "en"),
        ([("sv", 1.0)], "sv"),
        ([("sv-SE", 1.0), ("en", 0.8)], "sv"),
        ([("SV", 1.0)], "sv"),
        ([("en", 0.5), ("sv", 0.9)], "sv"),
        ([("en-GB", 1.0), ("sv", 0.9)], "en"),
        ([("fr-BE", 1.0), ("nl", 0.9)], "fr"),
        ([("ca", 1.0), ("es", 0.9)], "es"),
        ([("de", 1.0), ("sv", 0.3)], "sv"),
        ([("de", 1.0)], "en"),
        ([("*", 1.0)], "en"),
        ([("*", 0.5), ("en", 0)], "sv"),
        ([("en", 0)], "sv"),
        ([("en", 0), ("sv", 0)], "fr"),
        ([("en", 0), ("sv", 0), ("fr", 0), ("es", 0)], "en"),
        ([("svenska", 1.0)], "en"),
    ],
)
def test_the_language_served_is_the_best_that_the_reader_accepts(preferred: list[tuple[str, float]], chosen: str) -> None:
    assert choose_language(preferred, POLICY.languages) == chosen
