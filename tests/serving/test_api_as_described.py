"""Requests that the API's own description brings forth, valid and not: no 5xx, and replies as described.

`--cases 10000` sends about so many (`make fuzz`).
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.servers

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--cases"))


def test_every_reply_is_one_that_is_described_and_none_is_a_fault(start_service, bundle, processes, cases):
    service = start_service(bundle=bundle)
    described = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    for operation in operations:
        for mode in GenerationMode:

            @settings(
                max_examples=max(1, cases // (2 * len(operations))),
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                case.validate_response(case.call(base_url=service.url), checks=CHECKS)

            try:
                ask()
            except Unsatisfiable:  # there is nothing to get wrong where nothing is sent
                assert (mode, takes_something(operation)) == (GenerationMode.NEGATIVE, False), operation.label
    assert service.process.poll() is None
    assert len(processes.decoders_of(service.pid)) == 2


def takes_something(operation) -> bool:
    return bool(operation.body) or any(
        len(kind) for kind in (operation.query, operation.headers, operation.path_parameters)
    )
