# `make` lists the targets. Everything that is installed goes to .tools/ in this clone.
PYTHON ?= python3
toolkit := .tools/toolkit/bin/python
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up preview down outputs test lint lock images fresh-check mutants ordering sabotage bench-local bench-training bench-training-gpu bench-serving bench-serving-gpu bench-gateway horovod ray vllm bench-vllm clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

up: ## set up what is missing, then deploy the local stack
	@$(PYTHON) -m tools.setup
	@./skerry up

preview: ## show what `make up` would change
	@./skerry preview

down: ## remove the local stack
	@./skerry down

outputs: ## print the local stack's outputs as JSON
	@./skerry outputs

test: ## lint and all tests, about half an hour; ARGS="tests/unit -k name" for some
	@$(PYTHON) -m tools.setup
	@$(toolkit) -m tools.run_tests $(ARGS)

lint: ## style, types, schema, locks and recipes of images
	@$(PYTHON) -m tools.setup toolkit workloads
	@$(toolkit) -m tools.lint

lock: ## resolve the *.in files anew; UPGRADE=1 takes newer versions
	@$(PYTHON) -m tools.setup toolkit
	@$(toolkit) -m tools.lock $(if $(UPGRADE),--upgrade)

images: ## build the workloads' images; BASE_IMAGE=name or BASE=debootstrap, VARIANT=cuda, PREFIX=registry/path/
	@$(PYTHON) -m tools.images $(if $(BASE_IMAGE),--base "$(BASE_IMAGE)") $(if $(VARIANT),--variant "$(VARIANT)") \
		$(if $(filter debootstrap,$(BASE)),--debootstrap) $(if $(PREFIX),--prefix "$(PREFIX)") \
		$(if $(BUILDER),--builder "$(BUILDER)") $(if $(SOURCE),--source "$(SOURCE)")

fresh-check: ## the README's commands as a new user of a fresh clone; ARGS="--only nogo --quick"
	@$(PYTHON) -m tools.fresh_check $(ARGS)

mutants: ## small faults drawn from the source, each must turn a test red; SINCE=REF for changed lines, N=200 SEED=1 IN=path JOBS=2
	@$(PYTHON) -m tools.setup
	@$(toolkit) -m tools.mutants $(if $(SINCE),--since "$(SINCE)") $(if $(N),--number "$(N)") $(if $(SEED),--seed "$(SEED)") \
		$(if $(IN),--in $(IN)) $(if $(JOBS),--jobs "$(JOBS)")

ordering: ## take away each order that a component asks for; a test must notice; IN="path path" JOBS=2
	@$(PYTHON) -m tools.setup toolkit
	@$(toolkit) -m tools.ordering $(if $(IN),--in $(IN)) $(if $(JOBS),--jobs "$(JOBS)")

sabotage: ## every listed breakage must turn its test red; SINCE=REF or ONLY=name for some; JOBS=2
	@$(PYTHON) -m tools.setup
	@$(toolkit) -m tools.sabotage $(if $(SINCE),--since "$(SINCE)") $(if $(ONLY),--only "$(ONLY)") $(if $(JOBS),--jobs "$(JOBS)")

bench-local: ## time the local stack: up, up without changes, preview, down
	@$(PYTHON) -m tools.setup
	@$(toolkit) -m bench.local_stack

bench-gateway: ## a gateway under faults: retry storm, kept connections, unfinished bodies, a rollout; BEFORE=commit beside it
	@$(PYTHON) -m tools.setup
	@BEFORE=$(BEFORE) $(toolkit) -m bench.gateway

horovod: ## the training loop with Horovod between two workers, in an environment of its own
	@$(PYTHON) -m tools.setup workloads
	@$(PYTHON) -m bench.variants horovod

ray: ## the training loop under Ray Train, two workers, in an environment of its own
	@$(PYTHON) -m tools.setup workloads
	@$(PYTHON) -m bench.variants ray

vllm: ## engine vllm with vLLM itself, its build for CPUs, in an environment of its own
	@$(PYTHON) -m tools.setup workloads
	@$(PYTHON) -m bench.vllm_contract

bench-vllm: ## what the front costs beside bare vLLM; VLLM=/path/to/vllm for another than the CPUs' build
	@$(PYTHON) -m tools.setup workloads
	@.tools/workloads/bin/python -m bench.vllm_overhead $(VLLM)

bench-training: ## two workers against one, jobs that are killed, quality beside n-grams; about 15 minutes
	@$(PYTHON) -m tools.setup toolkit workloads
	@.tools/workloads/bin/python -m bench.training

bench-training-gpu: ## what share of a GPU's peak a training step uses; on a machine with an NVIDIA GPU only
	@$(PYTHON) -m tools.setup workloads
	@.tools/workloads/bin/python -m bench.training_gpu

bench-serving: ## SmolLM2 served here beside transformers and llama.cpp; overload, drain, drawn requests; about 25 minutes
	@$(PYTHON) -m tools.setup toolkit workloads
	@.tools/workloads/bin/python -m bench.serving

bench-serving-gpu: ## how near to its memory's limit a GPU decodes; on a machine with an NVIDIA GPU only
	@$(PYTHON) -m tools.setup workloads
	@.tools/workloads/bin/python -m bench.serving_gpu

clean: ## remove .tools and .skerry, unless a stack is up
	@$(PYTHON) -m tools.clean
