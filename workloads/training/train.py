"""Train a small language model and publish it as a model folder that Hugging Face's transformers can load.

One process:
    python -m workloads.training.train --output out/model
Two workers on one machine:
    python -m workloads.training.torchrun --standalone --nproc-per-node 2 \\
        -m workloads.training.train --output out/model
The same, and nothing listens on an address that other machines reach (--standalone does on every address):
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 GLOO_SOCKET_IFNAME=lo
    python -m workloads.training.torchrun --rdzv-backend c10d --rdzv-conf store_type=file --local-addr 127.0.0.1 \\
        --nproc-per-node 2 -m workloads.training.train --output out/model
Two to four machines that may come and go, one worker per GPU on each (the same command on all; output and checkpoints
where all reach them; `python -m workloads.training.rendezvous` runs on a host that stays):
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    python -m workloads.training.torchrun --nnodes 2:4 --nproc-per-node gpu --max-restarts 10 --rdzv-backend c10d \\
        --rdzv-endpoint that-host:29400 --rdzv-conf is_host=false --rdzv-id monday -m workloads.training.train \\
        --run-id pretrain --checkpoints s3://bucket/checkpoints --output s3://bucket/model

Works on the CPU and on one or many GPUs by the same code. --help lists every setting; config.py says why each
is there. Progress goes to stderr and the final record to stdout, one JSON object a line, from rank 0 only.
With --checkpoints a run that was stopped or killed goes on where its last checkpoint was, also with another number of
workers. Exit codes: 0 published, 2 a setting cannot be used, 75 stopped by SIGTERM or --stop-at after a checkpoint,
143 stopped by SIGTERM with nothing to keep, 1 anything else; only 0 changes the output.
"""

import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from workloads.manifest import OutputRefused
from workloads.remote import RemoteError
from workloads.training.base import read_base
from workloads.training.bigram import bigram_bits_per_byte
from workloads.training.card import model_card
from workloads.training.checkpoint import Checkpoints, Learner
from workloads.training.checkpoint_files import hush
from workloads.training.config import TrainConfig, parse, place, shown
from workloads.training.data import Corpus, load_corpus
from workloads.training.evaluation import evaluate
from workloads.training.export import ExportFailed, destination, export
from workloads.training.flags import ConfigError
from workloads.training.hyperparameters import changes, set_weight_decay
from workloads.training.lease import Lease, LeaseLost, leased
from workloads.training.lines import Lines
from workloads.training.model import LanguageModel
from workloads.training.optimizer import build_optimizer
from workloads.training.parallel import compile_model, spread, whole
from workloads.training.precision import check_fp8, to_fp8
from workloads.training.preemption import PREEMPTED, Preemption
from workloads.training.progress import Progress
from workloads.training.sampler import Sampler
from workloads.training.source import commit, source_digest
from workloads.training.step import Run, take_step
from workloads.training.store import Store, Unreachable, open_stores
from workloads.training.telling import telling
from workloads.training.warm_start import begin, open_folder
from workloads.training.workers import Workers, die_with_launcher, end_process, leave, run_name


def main(arguments: Sequence[str]) -> int:
    die_with_launcher()
    hush()
    preemption = Preemption()
    workers = Workers.from_environment()
    try:
        config = parse(arguments, workers.world)
        output = destination(config.output)  # refused now rather than after the training
        corpus = load_corpus(config)
        stores = open_stores(config.checkpoints, config.fallback, patience=config.store_patience)
        name = config.run_id or run_name()
        ours = stores if workers.rank == 0 else []
        with leased(ours, name, config.lease_seconds) as leases, telling(config, workers, name) as lines:
            ended = train(config, corpus, output, workers, preemption, stores, leases, lines, name)
        workers.part(workers.device(), ended)  # now that rank 0 has told of the end
        return ended
    except (ConfigError, OutputRefused) as error:
        print(f"workloads.training.train: {error}", file=sys.stderr, flush=True)
        return 2
    except (Unreachable, RemoteError, LeaseLost, FloatingPointError, ExportFailed) as error:
        print(f"workloads.training.train: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        leave()


def train(
    config: TrainConfig,
    corpus: Corpus,
    output: Path | str,
    workers: Workers,
    preemption: Preemption,
    stores: list[Store],
    leases: list[Lease],
    lines: Lines,
    name: str,
) -> int:
    """From the first weights, or the last checkpoint, to rank 0's export at `output`; the exit code.

    Raises ConfigError, FloatingPointError, Unreachable, RemoteError, LeaseLost.
    """
    device = workers.device()
    check_fp8(config, device)
    progress = Progress(config, workers, device, lines)
    workers.join(device, config.peer_patience)
    torch.manual_seed(config.seed)
    model = LanguageModel(config.model, plain=config.plain)
    init_digest = base = None
    if config.init:
        folder = open_folder(place("init", config.init))
        init_digest, base = begin(folder, model, corpus.tokenizer), read_base(folder)
    if config.precision == "fp8":
        to_fp8(model)
    if config.compile == "on" or (config.compile == "auto" and device.type == "cuda"):
        compile_model(model, config)
    parallel = spread(model, config, workers, device)
    sampler = Sampler(len(corpus.training), config.model.context, config.seed)
    optimizer = build_optimizer(model, config)
    run = Run(config, workers, device, corpus, sampler, model, optimizer, parallel, init_digest=init_digest)
    checkpoints = Checkpoints(stores, config.keep, workers, leases, lines) if stores else None
    facts = checkpoints.restore(Learner(model, optimizer), run.identity()) if checkpoints else None
    if facts:
        run.step, sampler.position = facts["step"], facts["position"]
        run.changes = facts.get("changes", [])
        set_weight_decay(optimizer, config.weight_decay)
    if run.step > config.steps:
        raise ConfigError(
            f"steps={config.steps}: the last checkpoint is of step {run.step}; a run does not go back: "
            f"give --steps {run.step} or more, or another place for --checkpoints"
        )
    about = {"run": name, "data_digest": corpus.digest, "parameters": model.parameter_count()}
    if facts and (changed := changes(facts, config)):
        run.changes = [*run.changes, *([run.step, name, *values] for name, values in changed.items())]
        about["changed"] = changed
    if corpus.left_out:
        about["left_out"] = dict(corpus.left_out)
    progress.begin(run.step, facts or {}, about)

    ended = learn(run, progress, checkpoints, preemption)
    if ended is not None:
        lines.end({"ended": "preempted" if ended == PREEMPTED else "failed"})
        return ended
    tokens_per_second = progress.tokens_per_second()

    bits_per_byte, heldout_bytes = evaluate(model, corpus, config, workers, device)
    progress.evaluated(run.step, bits_per_byte)
    published = whole(model, workers)
    if workers.rank == 0:
        record = {
            "steps": config.steps,
            "tokens": sampler.position * config.model.context,  # --batch may have been another before
            "seed": config.seed,
            "world_size": workers.world,
            "tokens_per_second": tokens_per_second,
            "train_loss": progress.train_loss,
            "bits_per_byte": bits_per_byte,
            "heldout_bytes": heldout_bytes,
            "heldout_bytes_available": corpus.held_out_bytes,
            "parameters": model.parameter_count(),
            "precision": config.precision,
            "device": device.type,
            "device_name": progress.device_name,
            "data_digest": corpus.digest,
            "code_digest": source_digest(),
            "commit": commit(),
            "torch": str(torch.__version__),
            **run.settings(),
        }
        if init_digest:
            record |= {"init": config.init, "init_digest": init_digest}
        if corpus.tokenizer.is_bytes:  # another tokenizer's pairs are too many to count
            record["bigram_bits_per_byte"] = bigram_bits_per_byte(corpus.training, corpus.held_out)
        record |= progress.cost()
        for lease in leases:
            with suppress(Unreachable):  # who cannot be asked does not keep a finished model back
                lease.check()
        card = model_card(name, config, record)
        digest = export(output, published, corpus.tokenizer, record, card, base)
        lines.end({"ended": "published", "place": shown(output)})
        told = {"output": shown(output), "manifest_digest": digest, **record}
        print(json.dumps(told, allow_nan=False), flush=True)
    return 0


def learn(
    run: Run, progress: Progress, checkpoints: Checkpoints | None, preemption: Preemption
) -> int | None:
    """Take the steps that are left, or those until the run is asked to stop: then the exit code, else None.

    With checkpoints the last step taken is kept before this returns, or a line has said why it could not be. Raises
    FloatingPointError, on every worker, when what was being written is kept.
    """
    config, stop = run.config, False
    with (
        collector_stopped(),
        preemption.deferred(run.workers) if checkpoints else nullcontext(),
        flushed(checkpoints),
    ):
        if checkpoints and run.step:  # what is kept already is enough for a run whose time was over before
            stop = preemption.asked(config.stop_at)
        while run.step < config.steps and not stop:
            run.step += 1
            progress.add(run.step, *take_step(run))
            last = run.step == config.steps
            if last or run.step % config.log_every == 0:
                progress.tell(run.step, checkpoints.stall if checkpoints else 0.0, run.data_wait)
            if checkpoints:
                stop = preemption.asked(config.stop_at)
                if stop or last or run.step % config.checkpoint_every == 0:
                    progress.refuse_bad_numbers()
                    facts = {"step": run.step, "position": run.sampler.position, **run.identity()}
                    facts |= run.settings() | progress.facts()
                    checkpoints.save(Learner(run.model, run.optimizer), facts)
            if config.evaluate_every and run.step % config.evaluate_every == 0 and not last and not stop:
                with progress.aside():
                    found = evaluate(run.model, run.corpus, config, run.workers, run.device)
                    progress.evaluated(run.step, found[0])
        if checkpoints is None:
            return None
        kept = checkpoints.finish()
        if kept:
            preemption.nothing_is_lost()
        if stop or preemption.asked(config.stop_at):
            return PREEMPTED if kept else 1
    return None


@contextmanager
def flushed(checkpoints: Checkpoints | None) -> Iterator[None]:
    """Numbers that are none end a run when the checkpoint from before them is written."""
    try:
        yield
    except FloatingPointError:
        if checkpoints:
            checkpoints.finish()
        raise


@contextmanager
def collector_stopped() -> Iterator[None]:
    """Python's garbage collector must not stop a step, half a second at worst; within, it runs only when called."""
    gc.collect()
    gc.freeze()  # what lives by now lives on: no later call has to look at it
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


if __name__ == "__main__":
    end_process(main, sys.argv[1:])
