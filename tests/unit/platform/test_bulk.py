"""COPY as CSV."""

import csv
import re
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ARRAY, Column, DateTime, Engine, Text, create_engine, func, literal, select, text
from sqlalchemy.orm import Session

from cloudpriv.embedded.stack import Stack
from cloudpriv.platform import bulk
from cloudpriv.platform.errors import BusyError

NUMBERS = func.generate_series(1, 200_000).table_valued("number").render_derived()


@pytest.fixture(scope="module")
def engine(stack: Stack) -> Iterator[Engine]:
    """An engine on a database without tables of ours."""
    made = create_engine(stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"])
    yield made
    made.dispose()


def test_blocks_join_to_one_csv_and_their_rows_are_counted(engine: Engine) -> None:
    with Session(engine) as session:
        blocks, content = bulk.csv_blocks(session, select(NUMBERS.c.number).order_by(NUMBERS.c.number)), []
        while True:
            try:
                content.append(next(blocks))
            except StopIteration as end:
                number = end.value
                break
    assert number == 200_000
    assert len(content) > 3
    assert max(map(len, content)) < bulk.BLOCK_BYTES * 2
    assert b"".join(content) == b"number\n" + b"".join(b"%d\n" % each for each in range(1, 200_001))


def test_a_copy_given_up_in_the_middle_leaves_the_connection_usable(engine: Engine) -> None:
    with Session(engine) as session:
        with closing(bulk.csv_blocks(session, select(NUMBERS.c.number))) as blocks:
            next(blocks)
        session.rollback()
        assert session.scalar(select(literal(1))) == 1


def test_a_connection_lost_in_the_middle_is_busy(engine: Engine) -> None:
    with Session(engine) as session, engine.connect() as other:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        blocks = bulk.csv_blocks(session, select(NUMBERS.c.number, func.repeat("x", 1000)))
        next(blocks)
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(BusyError):
            list(blocks)
        session.invalidate()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", " =", '"='])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(engine: Engine, start: str) -> None:
    assert cell(engine, f"{start}cmd/'c calc'!A1") == f"'{start}cmd/'c calc'!A1"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", "\r", "\n"])
def test_a_formula_behind_what_another_spreadsheet_takes_for_a_separator_is_quoted(engine: Engine, separator: str) -> None:
    assert cell(engine, f"x{separator}=1+1") == f"x{separator}'=1+1"
    assert cell(engine, f'x{separator} "@SUM(A1)') == f"x{separator}' \"@SUM(A1)"


@pytest.mark.parametrize("harmless", ["tcp", "", "a=b", 'say "no", 100 %', "per cent %s %(x)s", "Å", "User-Request", "a; b"])
def test_other_texts_are_left_alone(engine: Engine, harmless: str) -> None:
    assert cell(engine, harmless) == harmless


ODD: Final = st.text(st.sampled_from(",;|\t\r\n-+=@'\" \uff0ba"), max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ODD)
def test_any_text_is_restored_from_its_cell_and_begins_no_formula_anywhere(engine: Engine, value: str) -> None:
    made = cell(engine, value)
    assert bulk.restored(made) == value
    for part in re.split(r"[,;|\t\r\n]", made):
        assert part.strip('" ')[:1] not in tuple("-+=@\uff0b") or not part.strip('" ')


def test_words_of_a_list_stand_in_one_cell(engine: Engine) -> None:
    lists = select(literal(["=a", "b"], ARRAY(Text)).label("value")).subquery()
    with Session(engine) as session:
        assert b"".join(bulk.csv_blocks(session, select(bulk.csv_cell(lists.c.value).label("value")))) == b"value\n'=a b\n"


def test_times_are_rfc_3339_in_any_time_zone_of_the_session(engine: Engine) -> None:
    moments = text("SELECT timestamptz '2026-03-29 02:30:00.25+02' AS moment").columns(
        Column("moment", DateTime(timezone=True))
    )
    with Session(engine) as session:
        session.execute(text("SET TIME ZONE 'Asia/Kathmandu'"))
        query = select(bulk.csv_cell(moments.subquery().c.moment).label("moment"))
        assert b"".join(bulk.csv_blocks(session, query)) == b"moment\n2026-03-29T00:30:00.25Z\n"


def cell(engine: Engine, value: str) -> str:
    with Session(engine) as session:
        texts = select(literal(value, Text).label("value")).subquery()
        content = b"".join(bulk.csv_blocks(session, select(bulk.csv_cell(texts.c.value).label("value"))))
    (row,) = csv.DictReader(StringIO(content.decode(), newline=""))
    return row["value"]
