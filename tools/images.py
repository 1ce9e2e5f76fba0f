"""`make images`: build the training and the serving image with podman or buildah, on any base.

    make images                                            for CPUs, on the base that the Containerfile names
    make images BASE_IMAGE=registry.example.com/python@sha256:...   on a base of your own
    make images BASE=debootstrap                           where no registry can be reached; Debian, as root
    make images VARIANT=cuda                               for GPUs
    make images VARIANT=vllm                               the serving image with engine vllm, for GPUs

Standard library only. The settings of your pip (index, proxy, certificates) reach the build as a secret: they are in
no layer and in no label.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import image_base, image_pip
from tools.builders import Builder, find
from tools.paths import ROOT
from tools.problem import Problem
from tools.progress import say

TARGETS = {"cpu": ("training", "serving"), "cuda": ("training", "serving"), "vllm": ("serving-vllm",)}
FILE = "workloads/Containerfile"

DISK_GB = {"cpu": 16.0, "cuda": 27.0, "vllm": 50.0}
"""What a build takes while it runs.

cpu: 15.1 GB were seen on 2026-11-24, on overlay storage. Most of it is torch, which lies there four times: where it is
installed, in that stage's layer, where it is copied to, and in the image's layer.
cuda: was not built, but reckoned from that, with 5.5 GB of torch for 2.9 GB.
vllm: was not built, but reckoned in the same way from about 12 GB of packages.
"""


def check_disk(builder: Builder, variant: str) -> None:
    """Say how much room a build takes and how much there is. Raises Problem when that is not enough."""
    store = builder.store()
    free = shutil.disk_usage(next(path for path in (store, *store.parents) if path.exists())).free / 1e9
    need = DISK_GB[variant]
    say(f"images: needs up to {need:.0f} GB in {store}, where {free:.0f} GB are free")
    if free < need:
        what = f"{free:.0f} GB are free in {store}, and building {variant} takes up to {need:.0f} GB"
        raise Problem(
            what,
            f"free some (`{builder.name} rmi` removes images), or move the store: graphroot in storage.conf",
        )


def facts() -> dict[str, str]:
    """What the labels tell of the sources; nothing where they are no git clone."""
    if not _git("rev-parse", "HEAD"):
        return {}
    changed = "-changed" if _git("status", "--porcelain", "--", "workloads", "tools") else ""
    return {
        "REVISION": _git("rev-parse", "HEAD") + changed,
        "VERSION": _git("describe", "--tags", "--always"),
    }


def build(builder: Builder, options: argparse.Namespace) -> list[str]:
    """Build the images of the variant; their names."""
    arguments = {"VARIANT": "cpu" if options.variant == "cpu" else "cuda", **facts()}
    if options.source:
        arguments["SOURCE"] = options.source
    if options.debootstrap:
        arguments["BASE_IMAGE"] = image_base.make(builder)
    elif options.base:
        arguments["BASE_IMAGE"] = options.base
    targets = TARGETS[options.variant]
    names = [f"{options.prefix}skerry-{target}:{options.variant}" for target in targets]
    with tempfile.TemporaryDirectory() as scratch:
        secrets = image_pip.secrets(Path(scratch))
        for target, name in zip(targets, names, strict=True):
            say(f"images: building {name}")
            made = Path(scratch) / target
            # The build only fetches packages: the machine's own network does, without a bridge or its plugins.
            command = [*builder.build, "--layers", "--format", "docker", "--network", "host", *secrets]
            # No date at all: two builds of the same sources agree, and a new commit takes up old layers.
            command += ["--timestamp", "0", "--iidfile", str(made), "--target", target, "--tag", name]
            for key, value in arguments.items():
                command += ["--build-arg", f"{key}={value}"]
            done = subprocess.run([*command, "--file", FILE, "."], cwd=ROOT)
            # podman ends with 0 when it is interrupted, and then there is no image.
            if done.returncode or not made.exists():
                remedy = "mend what it names and run the same command again: finished layers are kept"
                raise Problem(f"{name} was not built, see above", remedy)
    return names


def main(argv: list[str] | None = None) -> int:
    """Build, then tell what there is."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.images", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--variant", choices=tuple(DISK_GB), default="cpu", help="what the images run on")
    parser.add_argument("--builder", default="", help="podman or buildah; the first that is there")
    parser.add_argument("--prefix", default="localhost/", help="before the images' names: REGISTRY/PATH/")
    parser.add_argument("--source", default="", help="address of the sources, for the label")
    base = parser.add_mutually_exclusive_group()
    base.add_argument("--base", default="", help="image to build on; the Containerfile names the usual one")
    base.add_argument("--debootstrap", action="store_true", help="make a base of Debian packages; needs root")
    options = parser.parse_args(argv)
    try:
        builder = find(options.builder, os.environ.get("PATH", os.defpath))
        check_disk(builder, options.variant)
        if options.debootstrap:
            image_base.check()
        for name in build(builder, options):
            print(name)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
