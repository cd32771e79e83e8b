from __future__ import annotations

import pytest

from dagster_project.endpoint import endpoint_from
from selective_autonomy.errors import ModelError

URL = {"OPENAI_BASE_URL": "http://localhost:1/v1"}


def test_without_a_url_nobody_is_asked_even_if_a_key_lies_about() -> None:
    assert endpoint_from({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}) is None


def test_url_model_and_key_come_from_the_environment_and_a_local_server_needs_no_key() -> None:
    endpoint = endpoint_from({**URL, "OPENAI_MODEL": "m", "OPENAI_API_KEY": "k", "OPENAI_RESPONSE_FORMAT": "none"})
    assert endpoint is not None
    assert endpoint.key is not None
    assert (endpoint.url, endpoint.model, endpoint.key.get_secret_value()) == ("http://localhost:1/v1", "m", "k")
    assert endpoint.response_format == "none"
    keyless = endpoint_from({**URL, "OPENAI_MODEL": "m"})
    assert keyless is not None
    assert keyless.key is None


@pytest.mark.parametrize(
    ("more", "message"),
    [({}, "OPENAI_MODEL is not"), ({"OPENAI_MODEL": "m", "OPENAI_RESPONSE_FORMAT": "xml"}, "expected json_schema")],
)
def test_half_an_endpoint_is_an_error_that_names_what_is_missing(more: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        endpoint_from({**URL, **more})
