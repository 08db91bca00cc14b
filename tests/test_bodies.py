"""A body is read once, strictly, and its first mistake is named."""

import json
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field

from shared import bodies
from shared.guards import BadInput


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image: bytes
    loud: bool = False


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()

    @app.post(
        "/file",
        responses=bodies.RESPONSES,
        openapi_extra=bodies.body(Question, "image", ("image/png",)),
    )
    async def file(request: Request) -> dict[str, Any]:
        try:
            question = await bodies.read(request, Question, "image")
        except BadInput as error:
            return {"status": error.status, "field": error.field, "reason": error.reason}
        return {"image": question.image.decode(), "loud": question.loud}

    @app.post("/plain")
    async def plain(request: Request) -> dict[str, Any]:
        try:
            return (await bodies.read(request, Question)).model_dump()
        except BadInput as error:
            return {"status": error.status, "field": error.field}

    return TestClient(app)


def test_json_form_and_bare_file_say_the_same(client: TestClient) -> None:
    wanted = {"image": "x", "loud": True}
    assert client.post("/file", json={"image": "x", "loud": True}).json() == wanted
    assert client.post("/file", data={"loud": "true"}, files={"image": b"x"}).json() == wanted
    bare = client.post(
        "/file", params={"loud": "true"}, content=b"x", headers={"content-type": "image/png"}
    )
    assert bare.json() == wanted


def test_json_is_strict_about_types(client: TestClient) -> None:
    assert client.post("/file", json={"image": "x", "loud": 0}).json()["field"] == "loud"
    assert client.post("/file", json={"image": "x", "laud": True}).json()["field"] == "laud"
    assert client.post("/file", json={}).json()["field"] == "image"


def test_a_field_given_twice_is_refused(client: TestClient) -> None:
    twice = client.post("/file", data={"loud": ["true", "false"]}, files={"image": b"x"}).json()
    assert twice == {"status": 400, "field": "loud", "reason": "is given more than once"}
    query = client.post(
        "/file?loud=true&loud=false", content=b"x", headers={"content-type": "image/png"}
    ).json()
    assert query["field"] == "loud"


def test_a_file_where_none_is_expected_is_refused(client: TestClient) -> None:
    answer = client.post("/plain", content=b"x", headers={"content-type": "image/png"}).json()
    assert answer == {"status": 415, "field": "content-type"}


def test_openapi_names_every_form_of_the_body_and_every_refusal(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/file"]["post"]
    kinds = set(described["requestBody"]["content"])
    assert kinds == {"application/json", "multipart/form-data", "image/png"}
    assert {"400", "413", "415", "429"} <= set(described["responses"])


def test_a_model_within_a_model_is_described_where_it_is() -> None:
    class Inner(BaseModel):
        """What is inside."""

        number: int

    class Outer(BaseModel):
        one: Inner | None = None
        many: list[Inner] = Field(description="of them")

    found = bodies.body(Outer)["requestBody"]["content"]["application/json"]["schema"]
    assert "$ref" not in json.dumps(found) and "$defs" not in found
    assert found["properties"]["many"]["items"]["properties"]["number"]["type"] == "integer"
    assert found["properties"]["many"]["description"] == "of them"
