"""A program of tests that reads log data through the DataMailbox API, and how it reads the answers."""

from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

MINUTE = timedelta(minutes=1)
SERVICES = ("getstatus", "getewons", "getewon", "getdata", "syncdata", "delete", "clean")


class Program:
    """A program that reads log data through the DataMailbox API."""

    def __init__(self, app: Flask, token: str) -> None:
        self.http: FlaskClient = app.test_client()
        self.credentials = {"t2mdevid": "a-developer", "t2mtoken": token}

    def ask(self, service: str, status: int = 200, **parameters: Any) -> Any:
        """The answer of a service, the same by GET as by POST where it changes nothing."""
        sent = self.credentials | {name.rstrip("_"): value for name, value in parameters.items()}
        answer = self.http.post(f"/dmweb/{service}", data=sent)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
        if service.startswith("get"):
            by_query = self.http.get(f"/dmweb/{service}", query_string=sent)
            assert (by_query.status_code, by_query.json) == (status, answer.json)
        return answer.json


def history(answer: Any) -> dict[str, list[Any]]:
    """The values of an answer by tag."""
    return {
        tag["name"]: [point["value"] for point in tag["history"]] for device in answer["ewons"] for tag in device["tags"]
    }


def written(time: datetime) -> str:
    """A time as the DataMailbox API writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
