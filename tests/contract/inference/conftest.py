"""Every promise of InferenceService is tested on the teacher and on the student server alike."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.serving import Serving

from seodang.client import AsyncClient, Client


@pytest.fixture(scope="session", params=["teacher", "student"])
def server(request: pytest.FixtureRequest) -> Serving:
    """Both servers, one after the other; each serves the same ``models/tiny``."""
    serving: Serving = request.getfixturevalue(request.param)
    return serving


@pytest.fixture
def client(server: Serving) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
async def aclient(server: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address) as client:
        yield client
