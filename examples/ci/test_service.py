"""A service in one domain, asked from another, and from where it must not be reached."""

import socket

import pytest


@pytest.fixture
def server(domain):
    process = domain("server").start("python3", "-m", "http.server", "--bind", "10.0.0.2", "80")
    yield process
    process.terminate()
    process.wait()


def test_the_client_is_answered(domain, server):
    assert "test_service.py" in domain("client").run("curl", "-sf", "http://10.0.0.2/")


def test_nobody_else_is(domain, server):
    domain("client").run("curl", "-sf", "http://10.0.0.2/")
    with pytest.raises(OSError):
        socket.create_connection(("10.0.0.2", 80), timeout=1)
