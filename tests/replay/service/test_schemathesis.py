"""The OpenAPI document says what is so: requests made from it, good and bad, find no difference."""

import dataclasses
import itertools

import pytest
from calls import TOKEN, FakeRecommender, make_app, make_service

from perennial.replay.live.status import read_status
from perennial.replay.service.reload import StatusReader, StoreFile

pytestmark = pytest.mark.campaign
SETTINGS = {
    "seed": 11,
    "generation": {"max-examples": 20},
    "operations": [
        {
            "include-method": "GET",
            "include-path": "/recommend",
            # No schema can say that exactly one of two parameters is given.
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422", "429"]}
            },
        }
    ],
}
KNOWN = {"auth": {"openapi": {"HTTPBearer": {"bearer": TOKEN}}}}


class Obliging(FakeRecommender):
    """The real model; two of three users count as a known one, whatever their names are."""

    def __init__(self, recommender):
        super().__init__()
        self._recommender = recommender

    def recommend(self, query):
        name = query.user or query.items[0]
        if len(name) % 3:
            query = dataclasses.replace(query, user="u3", items=())
        return self._recommender.recommend(query)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "with a token"])
def test_the_service_is_as_it_is_documented(recommender, published_file, token):
    import schemathesis
    from schemathesis.engine import events, from_schema

    status = StatusReader(StoreFile(published_file), lambda store: read_status(store).to_json())
    service = make_service(Obliging(recommender), status=status)
    app = make_app(service=service, token=token)
    config = schemathesis.Config.from_dict(SETTINGS | (KNOWN if token else {}))
    given = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config, **given)
    checks, failures, errors, asked = 0, [], [], set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            errors.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            asked.add(event.recorder.label)
            for one in itertools.chain.from_iterable(event.recorder.checks.values()):
                checks += 1
                if one.failure_info is not None:
                    code = one.failure_info.code_sample
                    failures.append((event.recorder.label, one.name, code))
    assert errors == []
    assert failures == []
    assert {"POST /recommend", "GET /recommend", "GET /health", "GET /status"} <= asked
    assert checks > 200
    counted = service.metrics.render().decode()
    for status in (200, 404, 415, 422):
        assert f'perennial_requests_total{{route="/recommend",status="{status}"}}' in counted
