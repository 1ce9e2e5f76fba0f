"""The provider's schema: its resource types as data, for the engine, for docs and for the tests over all types."""

from __future__ import annotations

from typing import Any

PACKAGE = "skerry-local"
VERSION = "0.1.0"

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
ANY = {"$ref": "pulumi.json#/Any"}
STRINGS = {"type": "array", "items": STRING}
MAP = {"type": "object", "additionalProperties": STRING}


def _property(kind: dict[str, Any], description: str) -> dict[str, Any]:
    return {**kind, "description": description}


FILE_INPUTS = {
    "path": _property(STRING, "Where it lies, relative to the project, below .skerry/."),
    "content": _property(STRING, "The whole text."),
}
PROCESS_SET_INPUTS = {
    "supervisor": _property(STRING, "Name of the supervisord that runs the processes; one per region."),
    "program": _property(STRING, "Name of the set; its processes are PROGRAM-0, PROGRAM-1, ..."),
    "command": _property(STRINGS, "The command; {port}, {index} and {name} are filled in per process."),
    "environment": _property(MAP, "Environment of each process; the same placeholders."),
    "replicas": _property(INTEGER, "How many processes."),
    "port": _property(
        INTEGER,
        "Port of the first process on 127.0.0.1; the others follow. With a balancer there is one port more than "
        "processes.",
    ),
    "portSetting": _property(STRING, "Key path of the setting that the port follows from, for messages."),
    "readyPath": _property(STRING, "HTTP path that answers 200 when a process may get traffic."),
    "readySeconds": _property(INTEGER, "How long a process may take until it answers, in seconds."),
    "stopSeconds": _property(INTEGER, "Seconds between SIGTERM and SIGKILL."),
    "balancer": _property(
        MAP,
        "The proxy in front: `file` of its cluster's endpoints, `cluster`, and its `admin` socket. A successor then "
        "answers, on another port, before a process stops.",
    ),
}
TASK_INPUTS = {
    "program": _property(STRING, "Name of the task, for its log."),
    "command": _property(STRINGS, "The command; {output} is the URI of the folder that it must make."),
    "environment": _property(MAP, "Environment of the command."),
    "key": _property(
        ANY,
        "What the result depends on, besides the sources; the command line is not part of it.",
    ),
    "sources": _property(STRINGS, "FOLDER//GLOB: files whose content the result depends on."),
    "outputParent": _property(
        STRING,
        "Folder under which the output is made, named by digest: a file:// URI, or a path relative to the project, "
        "which is what the state holds of both.",
    ),
    "result": _property(STRING, "JSON file in the output that becomes `outcome`."),
    "timeoutSeconds": _property(INTEGER, "Longest run, in seconds."),
}


def _resource(
    description: str,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    optional: frozenset[str] = frozenset({"environment", "portSetting", "sources", "balancer"}),
) -> dict[str, Any]:
    return {
        "description": description,
        "inputProperties": inputs,
        "requiredInputs": sorted(inputs.keys() - optional),
        "properties": {**inputs, **outputs},
        "required": sorted({**inputs, **outputs}.keys() - optional),
    }


SCHEMA: dict[str, Any] = {
    "name": PACKAGE,
    "version": VERSION,
    "description": "Processes, tasks and files on this machine: what target `local` of Skerry is made of.",
    "config": {},
    "provider": {
        "inputProperties": {"root": _property(STRING, "Folder of the project.")},
        "requiredInputs": ["root"],
    },
    "resources": {
        f"{PACKAGE}:index:ProcessSet": _resource(
            "N supervised processes of one kind, replaced one at a time, each waited for until it answers.",
            PROCESS_SET_INPUTS,
            {"running": _property(MAP, "Process -> revision of what it runs.")},
        ),
        f"{PACKAGE}:index:Task": _resource(
            "A command that runs to its end once for everything that its result depends on.",
            TASK_INPUTS,
            {
                "digest": _property(STRING, "SHA-256 of what the result depends on."),
                "output": _property(STRING, "file:// URI of the folder that it made."),
                "outcome": _property(ANY, "The command's own result: what `result` holds."),
                "checksum": _property(
                    STRING,
                    "`sha256:` of the file `result`; of a manifest, it names all files.",
                ),
                "content": _property(STRING, "SHA-256 of everything in the output folder."),
                "seconds": _property({"type": "number"}, "How long it ran, in seconds."),
            },
        ),
        f"{PACKAGE}:index:File": _resource("A text file, replaced by rename.", FILE_INPUTS, {}),
    },
}
