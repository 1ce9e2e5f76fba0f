"""The `local` stack for real: engine, training, quantization, serving, balancing. The tests follow one stack's life,
in the order of this file."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import yaml

from components.local.provider.ports import is_free
from tests.local.clone import Clone
from tests.local.samples import wait_until
from tests.waiting import HANG_SECONDS

FRANCE = "Which city is the capital of France? Answer with one word."


def training_is_under_way(clone: Clone) -> bool:
    log = clone.root / ".skerry" / "run" / "tasks" / "train-coder.log"
    try:
        return '"loss"' in log.read_text()
    except OSError:
        return False


def a_replica_is_starting(clone: Clone) -> bool:
    return (clone.root / ".skerry/run/region-east/logs/coder-0.log").exists()


def start_up(clone: Clone, moment: Callable[[Clone], bool], *command: str) -> subprocess.Popen[bytes]:
    """`up` in a process group of its own, as a terminal would have it, until a moment has come."""
    process = subprocess.Popen(
        command or ("./skerry", "up"),
        cwd=clone.root,
        env=clone.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert wait_until(lambda: moment(clone) or process.poll() is not None)
    assert process.poll() is None, "it ended before the moment came"
    return process


def training_processes(clone: Clone) -> list[psutil.Process]:
    return [process for process in clone.processes() if "workloads.training" in " ".join(process.cmdline())]


def test_a_bad_stack_file_is_refused_with_every_mistake_and_nothing_is_made(clone: Clone) -> None:
    good = clone.settings()
    bad = json.loads(json.dumps(good))
    bad["regions"][1]["name"] = "east"
    bad["services"][0]["replicas"] = -1
    bad["pools"][0]["accelerator"] = "h900"
    bad["training"][0]["steps"] = "many"
    bad["reigons"] = []
    clone.declare(bad)
    done = clone.run("./skerry", "up")
    clone.declare(good)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    for words in (
        "stacks/Pulumi.local.yaml: skerry:stack has 5 mistakes",
        'regions[1].name: "east" -- stands 2 times',
        "services[0].replicas: -1 -- must be at least 0",
        'pools[0].accelerator: "h900" -- target local has no such accelerator',
        'training[0].steps: "many" -- must be a whole number',
        "reigons: a list of 0 -- there is no such key",
    ):
        assert words in text, text
    assert "Traceback" not in text
    assert [path.name for path in (clone.root / ".skerry").iterdir()] == ["state"]


def test_a_port_in_use_is_named_with_its_setting_and_nothing_is_made(clone: Clone) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", clone.region_port("west")))
        taken.listen()
        done = clone.run("./skerry", "up")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"port {clone.region_port('west')} on 127.0.0.1 is in use" in text
    assert "change target.port" in text
    assert not (clone.root / ".skerry" / "run").exists()
    assert not (clone.root / ".skerry" / "tiers").exists()


def test_before_up_the_outputs_say_what_to_run(clone: Clone) -> None:
    done = clone.run("./skerry", "outputs")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "is not up. Run `make up`" in done.stderr


def test_a_make_up_interrupted_by_ctrl_c_in_training_ends_the_training(clone: Clone) -> None:
    process = start_up(clone, training_is_under_way, "make", "up")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=HANG_SECONDS) != 0
    assert wait_until(lambda: not training_processes(clone))


def test_a_killed_up_leaves_no_training_behind(clone: Clone) -> None:
    process = start_up(clone, training_is_under_way)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not training_processes(clone))


def test_down_after_a_killed_up_leaves_nothing(clone: Clone) -> None:
    done = clone.run("./skerry", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert wait_until(lambda: not clone.processes())
    assert [path.name for path in (clone.root / ".skerry").iterdir()] == ["state"]


def test_the_next_up_completes_after_a_kill_while_replicas_start(clone: Clone) -> None:
    process = start_up(clone, a_replica_is_starting)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    clone.up()
    state = json.loads(clone.shell("pulumi stack export").stdout)
    assert not state["deployment"].get("pending_operations")


def test_bare_pulumi_sees_no_change_after_up(clone: Clone) -> None:
    assert clone.changes() == ""


def test_an_up_without_changes_says_so_and_what_answers_and_lists_no_resource(clone: Clone) -> None:
    done = clone.run("./skerry", "up")
    assert done.returncode == 0 and "no changes: " in done.stdout
    assert "region-east answers: assistant 1 of 1, coder 1 of 1, envoy 1 of 1" in done.stdout
    assert "LocalModelVersion" not in done.stdout


def test_bare_pulumi_up_does_the_same(clone: Clone) -> None:
    done = clone.shell("pulumi up --yes --expect-no-changes")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_clone_is_clean_after_up(clone: Clone) -> None:
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_the_assistant_answers_rightly_through_the_global_address(clone: Clone) -> None:
    assert "Paris" in clone.chat(FRANCE)[0]
    assert "4" in clone.chat("What is 2+2?")[0]


def test_every_request_of_the_readme_is_answered(clone: Clone) -> None:
    blocks = re.findall(r"```bash\n(curl .*?)```", (clone.root / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        done = clone.run("bash", "-c", block.replace("127.0.0.1:8080", f"127.0.0.1:{clone.port}"))
        assert json.loads(done.stdout)["choices"], done.stdout + done.stderr


def test_every_command_of_the_readme_exists(clone: Clone) -> None:
    text = (clone.root / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (clone.root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for command in set(re.findall(r"\./skerry ([a-z]+)", text)):
        assert clone.run("./skerry", command, "--help").returncode == 0, command


def test_both_regions_answer_and_each_alone_gives_the_same(clone: Clone) -> None:
    seen = {clone.chat(FRANCE) for _ in range(8)}
    assert {region for _, region in seen} == {"east", "west"}
    assert len({answer for answer, _ in seen}) == 1


def test_the_outputs_hold_what_the_readme_promises(clone: Clone) -> None:
    outputs = clone.outputs()
    assert outputs["endpoint"] == f"http://127.0.0.1:{clone.port}"
    assert outputs["regions"] == {
        region: {
            "endpoint": f"http://127.0.0.1:{clone.region_port(region)}",
            "handle": json.dumps({"port": clone.region_port(region)}),
            "replicas": {"assistant": 1, "coder": 1},
        }
        for region in ("east", "west")
    }
    for name in ("coder", "assistant"):
        model, sizes = outputs["models"][name], outputs["quantization"][name]
        assert model["scheme"] == "int8-weight-only"
        assert model["digest"] == f"sha256:{model['digest'][7:]}"
        assert model["version"] == model["digest"][7:19]
        assert 0 < sizes["bytes_after"] <= 0.4 * sizes["bytes_before"]


def test_what_is_served_is_the_version_that_the_outputs_name(clone: Clone) -> None:
    digest = clone.outputs()["models"]["coder"]["digest"]
    for region in ("east", "west"):
        body = {"model": "coder", "prompt": "import os", "max_tokens": 4}
        status, _, headers = clone.ask("/v1/completions", body, clone.region_port(region))
        assert (status, headers["x-skerry-model-digest"]) == (200, digest)


def test_the_trained_model_is_better_than_a_bigram_model_and_than_three_bits_per_byte(clone: Clone) -> None:
    record = clone.outputs()["training"]["coder"]
    assert record["bits_per_byte"] < 3.0
    assert record["bits_per_byte"] < record["bigram_bits_per_byte"]
    assert record["world_size"] == 2


def test_training_in_the_outputs_is_the_run_s_own_record(clone: Clone) -> None:
    (record,) = (clone.root / ".skerry/tiers/east/warm/training/coder").glob("*/record.json")
    assert clone.outputs()["training"]["coder"] == json.loads(record.read_text())


def test_an_unknown_model_is_refused_with_those_that_exist(clone: Clone) -> None:
    status, body, _ = clone.ask("/v1/completions", {"model": "nobody", "prompt": "x"})
    assert status == 404
    assert "coder, assistant" in body["error"]["message"]


def test_everything_listens_on_loopback_only(clone: Clone) -> None:
    addresses = {address for address, _ in clone.listening()}
    assert addresses == {"127.0.0.1"}


def test_the_readme_shows_the_diagram_that_is_drawn_from_the_state(clone: Clone) -> None:
    first, second = (clone.run("./skerry", "diagram").stdout for _ in range(2))
    assert first == second
    assert f"```mermaid\n{first}```" in (clone.root / "README.md").read_text()


def test_the_next_request_after_the_loss_of_a_region_is_answered_by_the_other(clone: Clone) -> None:
    for process in clone.region_processes("east"):
        if process.is_running():
            process.kill()
    answer, region = clone.chat(FRANCE)
    assert region == "west"
    assert "Paris" in answer
    shown = clone.run("./skerry", "diagram")
    assert "0 running" in shown.stdout and "not running: region-east/" in shown.stderr


def test_up_brings_a_lost_region_back_and_then_needs_no_change(clone: Clone) -> None:
    clone.up()
    assert wait_until(lambda: clone.chat(FRANCE)[1] == "east")
    assert clone.changes() == ""


def test_a_truncated_model_file_is_never_loaded_and_up_makes_it_again(clone: Clone) -> None:
    digest = clone.outputs()["models"]["coder"]["digest"]
    (weights,) = (clone.root / ".skerry/tiers/east/hot/models/coder").glob("*/model.safetensors")
    replica = next(p for p in clone.region_processes("east") if "coder" in p.cmdline())
    # Removed and written anew: truncating it in place would take the memory from under the running replica.
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[: len(content) // 2])
    replica.kill()
    log = clone.root / ".skerry/run/region-east/logs/coder-0.log"
    assert wait_until(lambda: "model.safetensors" in log.read_text())
    answered = 0
    while answered < 6:
        status, _, headers = clone.complete("import os")
        assert status in (200, 503)  # the machine may leave west no time for its health checks
        if status == 200:
            assert (headers["x-skerry-region"], headers["x-skerry-model-digest"]) == ("west", digest)
            answered += 1
    clone.up()
    assert clone.outputs()["models"]["coder"]["digest"] == digest
    assert wait_until(lambda: clone.complete("import os")[2]["x-skerry-region"] == "east")
    assert clone.changes() == ""


def test_a_killed_and_a_hung_replica_cost_twelve_clients_no_request_and_both_come_back(clone: Clone) -> None:
    # One replica in each region: the other region must help out.
    assert clone.outputs()["regions"]["west"]["replicas"] == {"assistant": 1, "coder": 1}
    with asking(clone, tokens=60) as refused:
        for region, signal_number in (("east", signal.SIGKILL), ("west", signal.SIGSTOP)):
            replica = next(p for p in clone.region_processes(region) if "coder" in p.cmdline())
            replica.send_signal(signal_number)
            # A hung one is ended by the watch of its supervisor; nobody runs `up`.
            assert wait_until(lambda replica=replica: not replica.is_running())
            # Until the load balancer has seen it, the region is still lost.
            assert wait_until(
                lambda region=region: clone.complete("import os")[2].get("x-skerry-region") == region
            )
        assert wait_until(lambda: clone.changes() == "")
    assert refused == []


def test_a_new_replica_and_a_new_dial_leave_running_processes_alone(clone: Clone) -> None:
    def pids() -> set[int]:
        # What a supervisor itself runs: below a replica, the compiling of its layer comes and goes.
        supervisors = [clone.region_processes(region)[0] for region in ("east", "west")]
        return {process.pid for each in supervisors for process in (each, *each.children())}

    before = pids()
    settings = clone.settings()
    settings["services"][0]["replicas"] = 2
    settings["regions"][0]["dial"] = 0
    clone.declare(settings)
    clone.up()
    assert before < pids()
    assert clone.outputs()["regions"]["west"]["replicas"] == {"assistant": 1, "coder": 2}
    assert wait_until(lambda: {clone.chat(FRANCE)[1] for _ in range(6)} == {"west"})
    assert clone.changes() == ""


def test_one_up_that_opens_a_region_and_changes_a_version_costs_twelve_clients_no_request(
    clone: Clone,
) -> None:
    before, settings = clone.outputs(), clone.settings()
    settings["regions"][0] = {"name": "east", "drained": True}
    clone.declare(settings)
    clone.up()
    settings["regions"][0].pop("drained")
    settings["training"][0] |= {"seed": 8, "steps": 20}
    clone.declare(settings)
    with asking(clone, pause_seconds=0.25) as refused:  # leaves the processors to `up`, which takes minutes
        clone.up()
    after = clone.outputs()
    assert refused == []
    assert after["training"]["coder"]["seed"] == 8
    assert after["training"]["coder"]["bits_per_byte"] != before["training"]["coder"]["bits_per_byte"]
    assert after["models"]["assistant"] == before["models"]["assistant"]
    digest = after["models"]["coder"]["digest"]
    assert digest != before["models"]["coder"]["digest"]
    assert wait_until(lambda: clone.chat(FRANCE)[1] == "east")
    assert {clone.complete("import os")[2]["x-skerry-model-digest"] for _ in range(6)} == {digest}
    assert len(list((clone.root / ".skerry/tiers/east/hot/models/coder").glob("*"))) == 1
    assert clone.changes() == ""


CLIENTS = 12


@contextmanager
def asking(clone: Clone, pause_seconds: float = 0.05, tokens: int = 8) -> Iterator[list[object]]:
    """Twelve clients ask `coder` again and again meanwhile, with pauses; yields everything that was no answer."""
    done, refused = threading.Event(), list[object]()

    def ask() -> None:
        while not done.wait(pause_seconds):
            try:
                status, answer, headers = clone.complete("import os", tokens=tokens)
            except OSError as error:
                refused.append(error)
                continue
            if status != 200:
                refused.append((status, answer, headers.get("x-skerry-region")))

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield refused
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_services_that_swap_their_ports_and_a_region_that_goes_leave_a_stack_that_answers(
    clone: Clone,
) -> None:
    settings = clone.settings()
    settings["services"].reverse()
    settings["regions"] = [{"name": "east"}]
    clone.declare(settings)
    clone.up()
    assert "Paris" in clone.chat(FRANCE)[0]
    assert clone.complete("import os")[0] == 200
    assert list(clone.outputs()["regions"]) == ["east"]
    assert clone.changes() == ""


def test_a_cloud_stack_gets_neither_the_local_state_nor_its_empty_passphrase(clone: Clone) -> None:
    other = clone.root / "stacks" / "Pulumi.other.yaml"
    content = yaml.safe_load(clone.stack_file.read_text())
    content["config"]["skerry:stack"]["target"] = {"name": "elsewhere"}
    salt = content.pop("encryptionsalt")
    other.write_text(yaml.safe_dump(content))
    backend, secrets = {"PULUMI_BACKEND_URL": "file:///nonexistent"}, {"PULUMI_CONFIG_PASSPHRASE": "own"}

    def refused(**more: str) -> str:
        done = clone.run("./skerry", "env", "--stack", "other", **more)
        assert done.returncode != 0
        assert done.stdout == ""
        return done.stderr

    try:
        assert "has no backend" in refused()
        assert "has no secrets provider" in refused(**backend)
        embedded = {"PULUMI_BACKEND_URL": (clone.root / ".skerry/state").as_uri()}
        assert "is the state of stack 'local'" in refused(**embedded, **secrets)
        other.write_text(yaml.safe_dump({**content, "encryptionsalt": salt}))
        assert "carries the public salt" in refused(**backend, **secrets)
        other.write_text(yaml.safe_dump(content))
        done = clone.run("./skerry", "env", "--stack", "other", **backend, **secrets)
        assert done.returncode == 0, done.stderr
        assert "PASSPHRASE" not in done.stdout
        assert "BACKEND" not in done.stdout
    finally:
        other.unlink()


def test_down_leaves_no_process_socket_or_file(clone: Clone) -> None:
    listening = {port for _, port in clone.listening()}
    assert len(listening) >= 4
    done = clone.run("./skerry", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert wait_until(lambda: not clone.processes())
    assert all(is_free(port) for port in listening)
    assert [path.name for path in (clone.root / ".skerry").iterdir()] == ["state"]
    assert list(clone.temporary.iterdir()) == []


def test_down_twice_is_down_once(clone: Clone) -> None:
    assert clone.run("./skerry", "down").returncode == 0
