"""`make vllm`: the tests of engine vllm with vLLM itself behind the server, on its build for CPUs.

    python -m bench.vllm_contract

Builds vLLM's environment in .tools/ where it is missing. Each test is a claim; what pytest says goes to
bench/results/vllm.log beside the JSON. 1 where a claim failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench import vllm_cpu
from bench.claims import ROOT, Benchmark
from bench.variants import installed
from tools.environments import WORKLOADS
from tools.problem import Problem

TESTS = "tests/workloads/serving/test_vllm.py"


def main() -> int:
    """Build, test, tell."""
    try:
        vllm = vllm_cpu.command()
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    bench = Benchmark("vllm", facts=installed(str(vllm.with_name("python")), ("vllm-cpu", "torch")))
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [str(WORKLOADS.home() / "bin/python"), "-m", "pytest", "-v", "--no-header", "--tb=short"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--junitxml", str(report), TESTS],
            cwd=ROOT,
            # vLLM takes its time to start: half a minute on two idle cores
            env={**os.environ, "SKERRY_VLLM": str(vllm)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    bench.claim("all tests ran", bool(cases) and done.returncode in (0, 1), f"{len(cases)} tests")
    for case in cases:
        failed = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        words = case.get("name", "").removeprefix("test_").replace("_", " ")
        bench.claim(words, not failed, f"{float(case.get('time', 0)):.1f} s")
    head = ", ".join(f"{name} {version}" for name, version in bench.facts.items())
    lines = [
        line for line in done.stdout.replace(str(ROOT), ".").splitlines() if "::" in line or " in " in line
    ]
    (ROOT / "bench" / "results" / "vllm.log").write_text("\n".join([head, *lines]) + "\n")
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
