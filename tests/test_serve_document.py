"""Everything that the OpenAPI document of upstairs serve allows, and much that it doesn't: schemathesis asks, all checks on."""

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode

from served import bearer, inside
from upstairs.serve.operations import OPERATIONS


@pytest.fixture(scope="module")
def document(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with inside(models, database=f"sqlite:///{folder}/tasks.db", tokens=True) as web:
        document = schemathesis.openapi.from_url(f"{web.base_url}/openapi.json")
        # a schema can't know a model's columns, nor which tasks there are
        document.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "404", "409", "413", "422"]
        yield document


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_answer_is_documented(document, operation, mode):
    asked = []
    described = document[operation.path][operation.method]
    strategy = described.as_strategy(generation_mode=mode)

    @hypothesis.settings(
        max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=strategy)
    def ask(case):
        asked.append(case.call_and_validate(headers=bearer("admin")).status_code)

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        pytest.skip("there is nothing to get wrong")
    assert asked
