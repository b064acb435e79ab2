"""What the measurements have in common."""

import os
import pathlib
import re
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
INSIDE = "RDOM_BENCH_INSIDE"


def sh(command, check=True):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def private_copy():
    """Runs this program again in namespaces of its own."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    copy = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.run([*copy, sys.executable, *sys.argv], env={**os.environ, INSIDE: "1"}, check=False).returncode


def medians(rounds):
    keys = list(dict.fromkeys(key for figures in rounds for key in figures))
    return {key: statistics.median(f[key] for f in rounds if key in f) for key in keys}


def machine():
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return (f"Linux {os.uname().release}, {os.cpu_count()} processors ({processor[1] if processor else 'unknown'}), "
            f"load {os.getloadavg()[2]:.1f} meanwhile")


def write(name, text):
    """Puts figures between their marks in docs/performance.md."""
    page = TOP / "docs/performance.md"
    begin, end = f"<!-- scripts/bench {name}: begin -->", f"<!-- scripts/bench {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}{end}{after}")
