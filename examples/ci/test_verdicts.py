"""What files assert, each a test of pytest's: FILES="a.yaml b.yaml" pytest test_verdicts.py"""

import json
import os
import subprocess

import pytest

FILES = os.environ.get("FILES", "network.yaml").split()


def verdicts():
    ran = subprocess.run(["rdom", "test", "--json", *FILES], stdout=subprocess.PIPE, text=True)
    for report in json.loads(ran.stdout):
        if report.get("trouble"):
            yield pytest.param({"failure": report["trouble"]}, id=report["file"])
        for verdict in report["verdicts"]:
            yield pytest.param(verdict, id=f"{report['file']}:{verdict['line']} {verdict['name']}")


@pytest.mark.parametrize("verdict", verdicts())
def test_verdict(verdict):
    assert not verdict["failure"], f"{verdict['failure']}\n{verdict.get('evidence') or ''}"
