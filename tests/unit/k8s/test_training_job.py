"""A training run as an indexed Job."""

from __future__ import annotations

from components.k8s import jobs
from components.k8s.training_job import JOB, digest_of
from components.settings.items import TrainingSettings
from tests.recorder import Registered
from tests.unit.k8s.host import (
    DISK_GIB,
    NOTICE_SECONDS,
    RUN,
    PlainHost,
    main_of,
    named,
    option,
    recorded,
    region_over,
    template_of,
    whole_region,
)

LONG = "a-name-of-forty-characters-is-allowed-12"


def job() -> Registered:
    return named(whole_region(), ":Job", "train-coder")


def test_a_run_is_an_indexed_job_with_a_pod_for_each_worker() -> None:
    spec = job().inputs["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)


def configuration(made: Registered) -> dict[str, str]:
    """What the launcher is told of the rendezvous beside its place."""
    words = option(main_of(made)["command"], "--rdzv-conf").split(",")
    return dict(word.split("=") for word in words)


def test_workers_meet_at_a_store_that_is_no_workers_and_that_only_they_reach() -> None:
    recording = whole_region()
    made, store = named(recording, ":Job", "train-coder"), named(recording, ":Deployment", "rendezvous-coder")
    service = named(recording, ":Service", "rendezvous-coder").inputs
    host, port = option(main_of(made)["command"], "--rdzv-endpoint").split(":")
    assert host == service["metadata"]["name"] and configuration(made)["is_host"] == "false"
    assert option(main_of(store)["command"], "--port") == port
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    labels = store.inputs["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    policy = named(recording, ":NetworkPolicy", "rendezvous-coder").inputs["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    ((source,), ports) = (policy["ingress"][0]["from"], policy["ingress"][0]["ports"])
    workers = made.inputs["spec"]["template"]["metadata"]["labels"]
    assert source["podSelector"]["matchLabels"].items() <= workers.items()
    assert [each["port"] for each in ports] == [int(port)]
    opened = named(recording, ":NetworkPolicy", "train-coder").inputs["spec"]["egress"]
    assert {"to": [{"podSelector": policy["podSelector"]}], "ports": ports} in opened


def test_there_is_never_a_second_store_and_it_stands_on_no_node_of_a_pool() -> None:
    store = named(whole_region(), ":Deployment", "rendezvous-coder")
    spec = store.inputs["spec"]
    assert spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}
    assert "nodeSelector" not in template_of(store) and "tolerations" not in template_of(store)


def test_a_rendezvous_is_of_one_job_and_the_run_is_the_same_over_its_jobs() -> None:
    recording = whole_region()
    main = main_of(named(recording, ":Job", "train-coder"))
    assert option(main["command"], "--rdzv-id") == f"$({JOB})"
    (variable,) = [one for one in main["env"] if one["name"] == JOB]
    assert (
        variable["valueFrom"]["fieldRef"]["fieldPath"]
        == "metadata.labels['batch.kubernetes.io/controller-uid']"
    )
    assert option(main["command"], "--run-id") == recording.returned["run"]["digest"][:12]


def test_workers_find_each_other_by_addresses() -> None:
    main = main_of(job())
    (variable,) = [
        one
        for one in main["env"]
        if one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") == "status.podIP"
    ]
    assert option(main["command"], "--local-addr") == f"$({variable['name']})"
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in main["env"]


def test_a_launcher_waits_longer_than_an_autoscaler_climbs_a_ladder() -> None:
    rungs, each = 3, 15 * 60  # the longest ladder; the autoscaler's default --max-node-provision-time
    assert int(configuration(job())["join_timeout"]) > rungs * each


def test_a_run_begins_and_goes_on_with_the_nodes_that_are_there() -> None:
    assert option(main_of(job())["command"], "--nnodes") == "1:2"


def test_a_run_has_ended_when_one_launcher_has_ended_well() -> None:
    assert job().inputs["spec"]["successPolicy"] == {"rules": [{"succeededCount": 1}]}


def test_a_worker_that_fails_again_and_again_uses_up_no_other_workers_tries() -> None:
    spec = job().inputs["spec"]
    assert spec["backoffLimitPerIndex"] == 3 and "backoffLimit" not in spec


def test_a_worker_runs_a_process_on_each_accelerator_of_its_node() -> None:
    command = main_of(job())["command"]
    assert option(command, "--nproc-per-node") == "2"
    on_cpu = main_of(named(whole_region(accelerators=0), ":Job", "train-coder"))["command"]
    assert option(on_cpu, "--nproc-per-node") == "1"


def test_a_worker_takes_the_accelerators_of_its_node() -> None:
    resources = main_of(job())["resources"]
    assert resources["limits"]["example.com/chip"] == resources["requests"]["example.com/chip"] == "2"


def test_a_worker_lands_on_its_pool() -> None:
    template = template_of(job())
    assert template["nodeSelector"] == {"pool": "pool", "kubernetes.io/arch": "arm64"}
    (toleration,) = template["tolerations"]
    assert (toleration["key"], toleration["value"], toleration["effect"]) == (
        "accelerator",
        "present",
        "NoSchedule",
    )


def test_up_does_not_wait_for_a_run() -> None:
    assert job().inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_a_node_that_is_taken_away_is_no_failure() -> None:
    rules = job().inputs["spec"]["podFailurePolicy"]["rules"]
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules


def test_another_try_is_made_after_a_preemption_and_not_after_a_mistake_in_the_settings() -> None:
    rules = job().inputs["spec"]["podFailurePolicy"]["rules"]
    by_codes = {tuple(rule["onExitCodes"]["values"]): rule for rule in rules if "onExitCodes" in rule}
    assert {codes: rule["action"] for codes, rule in by_codes.items()} == {
        (2,): "FailJob",
        (69, 75, 143): "Ignore",
    }
    assert {rule["onExitCodes"]["containerName"] for rule in by_codes.values()} == {main_of(job())["name"]}


def test_workers_have_nearly_all_of_a_pods_time_for_a_last_checkpoint() -> None:
    grace = template_of(job())["terminationGracePeriodSeconds"]
    assert 0 < grace - int(option(main_of(job())["command"], "--shutdown-timeout")) <= 15


def test_a_pod_stops_within_the_shortest_notice_of_its_pool() -> None:
    assert template_of(job())["terminationGracePeriodSeconds"] == NOTICE_SECONDS < 120


def test_processes_of_a_node_share_memory() -> None:
    template = template_of(job())
    volumes = {volume["name"]: volume for volume in template["volumes"]}
    (mount,) = [one for one in main_of(job())["volumeMounts"] if one["mountPath"] == "/dev/shm"]
    assert volumes[mount["name"]]["emptyDir"] == {"medium": "Memory"}


def test_the_run_writes_where_it_says() -> None:
    recording = whole_region()
    command = main_of(named(recording, ":Job", "train-coder"))["command"]
    run = recording.returned["run"]
    assert (
        option(command, "--output") == run["uri"] == f"memory://here-warm/training/coder/{run['digest'][:12]}"
    )
    assert (option(command, "--steps"), option(command, "--seed")) == ("10", "3")
    assert run["record"] == {"steps": 10, "seed": 3, "workers": 2}


def test_a_run_keeps_its_checkpoints_beside_its_export_where_it_may_write() -> None:
    recording = whole_region()
    checkpoints = option(main_of(named(recording, ":Job", "train-coder"))["command"], "--checkpoints")
    assert checkpoints == f"{recording.returned['run']['uri']}-checkpoints"
    assert checkpoints.startswith("memory://here-warm/training/coder/")


def test_another_setting_or_image_is_another_digest() -> None:
    changes = ({"workers": 4}, {"steps": 11}, {"seed": 4})
    digests = [digest_of(TrainingSettings(**{**RUN.model_dump(), **change}), "image") for change in changes]
    digests += [digest_of(RUN, "image"), digest_of(RUN, "another image")]
    assert len(set(digests)) == 5


def test_a_renamed_run_has_the_same_result() -> None:
    assert digest_of(TrainingSettings(**{**RUN.model_dump(), "name": LONG}), "image") == digest_of(
        RUN, "image"
    )


def names_of_jobs(**changes: object) -> str:
    """Name of a run's Job with other settings."""

    def program() -> object:
        region = region_over(PlainHost("here"))
        return region.train(RUN.model_copy(update=changes)).uri

    return named(recorded(program), ":Job", "train-").inputs["metadata"]["name"]


def test_another_run_is_a_job_of_another_name_since_a_job_cannot_change() -> None:
    names = [names_of_jobs(), names_of_jobs(steps=11), names_of_jobs(workers=4), names_of_jobs()]
    assert len(set(names)) == 3 and names[0] == names[3]


def test_another_attempt_is_another_job_with_the_same_command() -> None:
    def made(attempt: int) -> Registered:
        tried = RUN.model_copy(update={"attempt": attempt})
        return named(recorded(lambda: region_over(PlainHost("here")).train(tried).uri), ":Job", "train-")

    first, second = made(1), made(2)
    assert first.inputs["metadata"]["name"] == names_of_jobs() != second.inputs["metadata"]["name"]
    assert main_of(first) == main_of(second)


def test_whatever_changes_in_a_jobs_pods_is_a_job_of_another_name() -> None:
    def program() -> object:
        return [jobs.job_name("train-coder", {"template": {"grace": grace}}) for grace in (1, 2)]

    names = recorded(program).returned
    assert len(set(names)) == 2 and all(len(name) <= jobs.LONGEST_JOB for name in names)


def test_a_run_may_have_the_longest_name_there_is() -> None:
    name = names_of_jobs(name=LONG)
    assert name.startswith("train-a-name-of") and len(name) <= jobs.LONGEST_JOB


def test_a_changed_job_is_deleted_before_the_new_one_is_made() -> None:
    jobs_of_all = whole_region().of(":Job")
    assert len(jobs_of_all) == 3 + 5 and all(made.delete_before_replace for made in jobs_of_all)


def test_a_worker_may_take_all_the_disk_that_its_node_has_for_pods() -> None:
    made = named(whole_region(), ":Job", "train-coder")
    assert main_of(made)["resources"]["limits"]["ephemeral-storage"] == f"{DISK_GIB}Gi"
