"""Readiness of log data's API: on a database that came back from a backup it answers nobody."""

from dataclasses import replace

from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.watch import Watch
from cloudpriv.processor.storage.restored import MARK, Mark, write
from tests.factories import NOW
from tests.logdata import Caller


def test_log_data_of_a_restored_database_is_served_to_nobody(
    log_app: Flask, processor: ProcessorServices, reader: Caller
) -> None:
    assert reader.http.get("/readyz").status_code == 200
    write(processor.objects, MARK, Mark(NOW, new_id()))
    log_app.extensions[EXTENSION] = replace(log_app.extensions[EXTENSION], watch=Watch())
    assert reader.get("/v1/logdata/devices").status_code == 200, "nobody has looked"
    refused = [reader.http.get("/readyz"), reader.get("/v1/logdata/devices")]
    refused.append(reader.http.get("/dmweb/getstatus", query_string={"t2mdevid": "any", "t2mtoken": reader.token}))
    assert [answer.status_code for answer in refused] == [503, 503, 503]
    assert refused[0].get_json()["type"] == "/problems/restored"
    assert reader.http.get("/healthz").status_code == 200
