"""Domains in pytest: rdom run network.yaml -- pytest"""

import os
import subprocess
import time

import pytest


class Domain:
    """A domain of the network that `rdom run` has brought up."""

    def __init__(self, name):
        self.words = ["rdom", "exec", name, "--"]

    def run(self, *words, within=10):
        """Runs a command there until it succeeds; its output."""
        deadline = time.monotonic() + within
        while True:
            ended = subprocess.run([*self.words, *words], capture_output=True, text=True)
            if ended.returncode == 0:
                return ended.stdout
            if time.monotonic() > deadline:
                pytest.fail(f"{' '.join(words)}: status {ended.returncode}\n{ended.stderr}")
            time.sleep(0.05)

    def start(self, *words):
        """Starts a command there. `rdom exec` becomes it, so it is the one that signals go to."""
        return subprocess.Popen([*self.words, *words])


@pytest.fixture(scope="session")
def domain():
    """The domain of a name or number."""
    if "RDOM_NETWORK" not in os.environ:
        pytest.exit("no network: rdom run network.yaml -- pytest", returncode=4)
    return Domain
