"""Answers made together are the answers made alone, whoever comes, goes or shares a prompt meanwhile."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from tests.workloads.serving.batches import admit, new_tokens, run, scheduler
from tests.workloads.serving.conftest import QUICK, SMOLLM2
from workloads.serving.cache import BLOCK_TOKENS
from workloads.serving.publish import publish
from workloads.serving.scheduler import PREFILL_TOKENS, SHARED_PREFILL_TOKENS, Scheduler
from workloads.serving.terms import Options, Piece, PromptTooLong
from workloads.training.export import export
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.tokenizer import load_tokenizer
from workloads.training.tokens import END_OF_TEXT_NAME

PROMPTS = (
    "The capital of France is",
    "def add(a, b):\n    return",
    "Once upon a time, in a small village by the sea,",
    "Water boils at",
    "The three primary colours are red,",
)
TOKENS = 64
TEXT = [index * 7 % 256 for index in range(200)]  # a prompt of the tiny model


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return publish(str(tiny), "none", str(tmp_path_factory.mktemp("plain") / "tiny"), QUICK)


def smollm2_of_transformers() -> LlamaForCausalLM:
    """The bundled file as transformers reads it: its own unpacking of GGUF, fp32 (its loader wants one package
    more than its reader)."""
    package, _, file = SMOLLM2.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package)
    assert spec and spec.submodule_search_locations
    path = str(Path(spec.submodule_search_locations[0]) / file)
    model = LlamaForCausalLM(LlamaConfig(**load_gguf_checkpoint(path)["config"]))
    found = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    missing = model.load_state_dict(found, strict=False).missing_keys
    assert missing == ["lm_head.weight"] and model.config.tie_word_embeddings
    return model.eval()


def same_as_transformers(reference: Any, artifact: dict[str, Any]) -> list[list[int]]:
    """Answers to PROMPTS made in one batch, after each was compared with what `reference` ranks first at each place:
    equal everywhere means the same greedy answer, and one that ends early has an end token there."""
    folder = Path(artifact["uri"].removeprefix("file://"))
    encode = Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    together = scheduler(artifact)
    ends = together.decoder.architecture.eos_token_ids
    sequences = [admit(together, encode(prompt).ids, TOKENS) for prompt in PROMPTS]
    run(together, *sequences)
    for sequence in sequences:
        with torch.no_grad():
            logits = reference(torch.tensor([sequence.tokens])).logits[0]
        *likeliest, following = logits[sequence.prompt_tokens - 1 :].argmax(dim=-1).tolist()
        assert likeliest == new_tokens(sequence)
        assert sequence.made == TOKENS or following in ends
    return [new_tokens(sequence) for sequence in sequences]


def test_five_greedy_answers_of_smollm2_in_one_batch_are_those_of_transformers(tmp_path: Path) -> None:
    reference = smollm2_of_transformers()
    answers = same_as_transformers(reference, publish(SMOLLM2, "none", str(tmp_path / "artifact"), QUICK))
    assert sum(len(answer) == TOKENS for answer in answers) >= 3, "most should run to the end"


def test_five_greedy_answers_of_a_model_that_training_exported_are_those_of_transformers(
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    model = LanguageModel(ModelConfig(width=48, layers=3, heads=6, key_value_heads=2, hidden=80, context=128))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    export(tmp_path / "export", model, load_tokenizer("bytes", END_OF_TEXT_NAME), {})
    reference = LlamaForCausalLM.from_pretrained(tmp_path / "export")
    answers = same_as_transformers(
        reference, publish(str(tmp_path / "export"), "none", str(tmp_path / "artifact"), QUICK)
    )
    assert [len(answer) for answer in answers] == [TOKENS] * len(PROMPTS)
    assert any(len(set(answer)) > 10 for answer in answers), "answers of one token compare too little"


def test_answers_in_a_batch_that_changes_all_the_time_are_the_answers_alone(plain: dict[str, Any]) -> None:
    asked = [
        (TEXT[at : at + size], made) for at, size, made in ((0, 3, 30), (9, 150, 5), (2, 40, 60), (5, 1, 9))
    ]
    alone = []
    for prompt, made in asked:
        single = scheduler(plain)
        sequence = admit(single, prompt, made)
        run(single, sequence)
        alone.append(new_tokens(sequence))
    together, sequences = scheduler(plain), []
    for prompt, made in asked:
        sequences.append(admit(together, prompt, made))
        together.step()
        together.step()
    run(together, *(one for one, (_, made) in zip(sequences, asked, strict=True) if one.made < made))
    assert [new_tokens(sequence) for sequence in sequences] == alone


def test_a_drawn_answer_does_not_depend_on_who_shares_its_batch(plain: dict[str, Any]) -> None:
    drawn = {"temperature": 1.0, "seed": 5}
    single, together = scheduler(plain), scheduler(plain)
    alone = admit(single, TEXT[:9], 40, **drawn)
    run(single, alone)
    admit(together, TEXT[20:31], 50, temperature=1.0, seed=6)
    shared = admit(together, TEXT[:9], 40, **drawn)
    run(together, shared)
    assert new_tokens(shared) == new_tokens(alone)


def test_an_answer_keeps_the_space_that_a_decoder_strips_from_a_first_token(plain: dict[str, Any]) -> None:
    words = {f"▁{token}": token for token in range(257)}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.Metaspace()
    batch = Scheduler(scheduler(plain).decoder, tokenizer, 4096)
    assert tokenizer.decode([7, 8, 8]) == "7 8 8"
    sequence = admit(batch, [7], 2, logit_bias=((8, 1000.0),))
    assert "".join(piece.text for piece in run(batch, sequence)[sequence]) == " 8 8"


def test_penalties_and_biases_work_on_the_scores_of_a_batch(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    other = admit(batch, TEXT[:8], 12)
    varied = admit(batch, TEXT[:8], 12, frequency_penalty=2.0, presence_penalty=2.0, min_tokens=2)
    fixed = admit(batch, TEXT[:8], 12, logit_bias=((65, 1000.0),))
    run(batch, other, varied, fixed)
    assert set(new_tokens(fixed)) == {65}
    assert len(set(new_tokens(varied))) > len(set(new_tokens(other)))


def test_eight_equal_answers_take_less_than_twice_the_decode_steps_of_one(plain: dict[str, Any]) -> None:
    one, eight = scheduler(plain), scheduler(plain)
    run(one, admit(one, TEXT[:8], 50))
    run(eight, *[admit(eight, TEXT[:8], 50) for _ in range(8)])
    assert eight.counts.generated_tokens == 8 * one.counts.generated_tokens == 400
    assert one.counts.decode_steps <= eight.counts.decode_steps < 2 * one.counts.decode_steps


def test_one_that_joins_in_mid_decode_has_its_first_token_at_once(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    first = admit(batch, TEXT[:8], 100)
    for _ in range(10):
        batch.step()
    second = admit(batch, TEXT[30:40], 5)
    assert {sequence for sequence, _ in batch.step()} == {first, second}


def test_a_long_prompt_never_keeps_the_others_from_their_next_token(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    first = admit(batch, TEXT[:8], 100)
    batch.step()
    long = admit(batch, (TEXT * 9)[: 10 * SHARED_PREFILL_TOKENS], 5)
    before = batch.counts.prefill_tokens
    while not long.made:
        assert first in [sequence for sequence, _ in batch.step()]
        assert batch.counts.prefill_tokens - before <= SHARED_PREFILL_TOKENS
        before = batch.counts.prefill_tokens
    assert first.made == 1 + 10, "it took a token for each of ten pieces"


@pytest.mark.parametrize("decoding", [False, True])
def test_a_short_prompt_has_its_first_token_as_soon_beside_a_long_one_as_without_it(
    plain: dict[str, Any], decoding: bool
) -> None:
    batch = scheduler(plain, 2**14)
    if decoding:
        admit(batch, TEXT[:8], 100)
        batch.step()
    long = admit(batch, (TEXT * 99)[: 20 * PREFILL_TOKENS], 5)
    batch.step()
    short = [admit(batch, TEXT[at : at + 15], 5) for at in (20, 30)]
    assert set(short) <= {sequence for sequence, _ in batch.step()}
    assert not long.made


def test_a_long_prompt_is_read_on_although_shorter_ones_come_all_the_time(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    long = admit(batch, (TEXT * 9)[: 4 * PREFILL_TOKENS], 5)
    for step in range(8):
        for at in range(2):
            admit(batch, [step, at, *TEXT[: PREFILL_TOKENS // 2]], 1)
        batch.step()
    assert long.made == 1, "half of each of eight pieces was its own"


def test_a_shared_beginning_is_computed_once_and_answers_stay_the_same(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    first = admit(batch, TEXT, 20)
    run(batch, first)
    computed = batch.counts.prefill_tokens
    again, other = admit(batch, TEXT, 20), admit(batch, [*TEXT[:100], 1, 2, 3], 20)
    run(batch, again, other)
    assert new_tokens(again) == new_tokens(first)
    assert batch.counts.prefix_tokens == 192 + 96, (
        "full blocks of 16 before the last token and the difference"
    )
    assert batch.counts.prefill_tokens - computed == (200 - 192) + (103 - 96)
    fresh = scheduler(plain)
    expected = admit(fresh, [*TEXT[:100], 1, 2, 3], 20)
    run(fresh, expected)
    assert new_tokens(other) == new_tokens(expected)


def test_the_next_turn_of_a_chat_finds_the_last_answer_in_the_cache_too(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    first = admit(batch, TEXT[:40], 60)
    run(batch, first)
    admit(batch, [*first.tokens, 9, 9], 5)
    assert batch.counts.prefix_tokens == 96, "of 99 cached positions the full blocks"


def test_kept_prompts_are_given_up_under_pressure_and_answers_stay_right(plain: dict[str, Any]) -> None:
    batch = scheduler(plain, positions=16 * BLOCK_TOKENS)
    run(batch, admit(batch, TEXT[:64], 20))
    kept = admit(batch, TEXT[:64], 20)
    assert kept.cached == 48
    run(batch, kept)
    run(batch, admit(batch, TEXT[100:190], 160))  # nearly all of the cache
    late = admit(batch, TEXT[:64], 20)
    assert late.cached < 48
    run(batch, late)
    assert new_tokens(late) == new_tokens(kept)


def test_one_that_finds_no_room_is_not_let_in_until_another_ends(plain: dict[str, Any]) -> None:
    batch = scheduler(plain, positions=10 * BLOCK_TOKENS)
    first = admit(batch, TEXT[:8], 90)
    assert batch.cache_usage == pytest.approx(0.7)
    assert batch.admit(TEXT[50:58], Options(60, temperature=0)) is None
    run(batch, first)
    assert batch.admit(TEXT[50:58], Options(60, temperature=0)) is not None


def test_an_answer_larger_than_the_whole_cache_is_refused_with_the_numbers(plain: dict[str, Any]) -> None:
    batch = scheduler(plain, positions=10 * BLOCK_TOKENS)
    with pytest.raises(PromptTooLong, match="8 tokens and max_tokens is 153.*holds 160.*larger cache"):
        batch.admit(TEXT[:8], Options(153))


def test_one_that_is_dropped_leaves_its_part_of_the_cache_at_once(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    for steps in (0, 1, 5):  # before its prompt was read, and while it decodes
        sequence = admit(batch, (TEXT * 2)[: PREFILL_TOKENS + 9], 50)
        for _ in range(steps):
            batch.step()
        assert batch.cache_usage > 0
        batch.drop(sequence)
        assert batch.cache_usage == 0


def test_one_that_cannot_be_made_gives_back_its_part_of_the_cache(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    run(batch, admit(batch, TEXT[:40], 5))  # blocks that are kept are taken, too
    with pytest.raises(ValueError, match="Overflow"):
        admit(batch, TEXT[:50], 5, seed=2**70)
    assert batch.cache_usage == 0
    assert admit(batch, TEXT[:50], 5).cached == 2 * BLOCK_TOKENS


def test_an_answer_that_breaks_is_its_own_and_the_others_go_on(plain: dict[str, Any]) -> None:
    batch = scheduler(plain)
    good = admit(batch, TEXT[:8], 5)
    broken = admit(batch, TEXT[:8], 5, logit_bias=((10**6, 1.0),))  # no such token
    made = dict(batch.step())
    assert isinstance(made[broken], IndexError) and isinstance(made[good], Piece)
    assert [piece.tokens for piece in run(batch, good)[good]] == [2, 3, 4, 5]
    assert batch.cache_usage == 0
