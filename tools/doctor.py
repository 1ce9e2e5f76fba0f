"""`./skerry doctor`: does this machine have what a set-up needs? Standard library only.

python3 -m tools.doctor [--json]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from tools import prerequisites


def main(argv=None) -> int:
    """Print every check; 1 when a required one fails."""
    parser = argparse.ArgumentParser(prog="./skerry doctor", description="Check what a set-up needs.")
    parser.add_argument("--json", action="store_true", help="machine-readable, on stdout")
    options = parser.parse_args(argv)
    findings = prerequisites.required() + prerequisites.optional()
    failed = [finding for finding in findings if finding.required and not finding.ok]
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
        return 1 if failed else 0
    for finding in findings:
        print(finding.line())
    if failed:
        print(
            f"{len(failed)} of {len(findings)} checks failed: "
            + ", ".join(finding.name for finding in failed)
        )
    else:
        print("this machine is ready")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
