"""A model's chat template is data: what it cannot make of messages is told to whoever sent them."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.workloads.serving.conftest import byte_tokenizer
from workloads.serving.architecture import UnsupportedModel
from workloads.serving.chat import ChatTemplate
from workloads.serving.protocol import ApiError
from workloads.serving.source import read_source
from workloads.serving.source_tokenizer import answering

ASKED = [{"role": "user", "content": "mysecretword"}]


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0]['content'] + 1 }}", "it raised TypeError"),
        ("{{ 1 / (messages | length - 1) }}", "it raised ZeroDivisionError"),
        ("{{ 'a'.encode(messages[0]['content']) }}", "it raised LookupError"),  # whose words hold the message
        ("{{ messages.__class__.__mro__ }}", "access to attribute '__class__' of 'list' object is unsafe."),
    ],
)
def test_messages_that_a_template_breaks_on_are_a_clients_mistake_and_stay_out_of_the_answer(
    template: str, why: str
) -> None:
    with pytest.raises(ApiError) as refused:
        ChatTemplate(template, {}).render(ASKED)
    error = refused.value.body()["error"]
    assert (refused.value.status, error["param"]) == (400, "messages")
    assert error["message"] == f"messages do not fit this model's chat template: {why}"


SAID = [
    {"role": "system", "content": "Be <brief> & kind"},
    {"role": "user", "content": "Schön?"},
    {"role": "assistant", "content": "Ja"},
    {"role": "user", "content": "Warum"},
]
TOKENS: dict[str, Any] = {
    **{f"{name}_token": f"<{name}>" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")},
    "image_token": "<image>",
    "add_bos_token": True,
    "model_max_length": 64,
}
TEMPLATES = {
    "tools": "{% if tools is not none %}{{ tools | tojson }}{% endif %}{{ messages[0].content }}",
    "documents": "{% if documents is not none %}{{ documents | length }}{% endif %}x",
    "no name": "{% if custom is defined %}{{ custom }}{% else %}none{% endif %}",
    "special": "".join(f"{{{{ {name}_token }}}}" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")),
    "joined": "{{ pad_token + unk_token + sep_token }}{{ image_token }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "trimmed generation": "{% for m in messages %}\n  {%- generation -%}\n {{ m.content }} \n{%- endgeneration -%}\n"
    "{% endfor %}",
    "scoped generation": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "sorted": "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
    "separators": "{{ messages[0] | tojson(separators=(',', ':')) }}{{ 'ö' | tojson(ensure_ascii=true) }}",
    "loop": "{% for m in messages %}{% if loop.index == 3 %}{% break %}{% endif %}{% if loop.first %}{% continue %}"
    "{% endif %}{{ m.content }}{% endfor %}",
    "namespace": "{% set n = namespace(x='') %}{% for m in messages %}{% set n.x = n.x + m.role %}{% endfor %}"
    "{{ n.x }}",
    "dict": "{{ dict(a=1).a }}{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}",
    "year": "{{ strftime_now('%Y') | length }}",
    "prompt": "{% if add_generation_prompt %}<assistant>{% endif %}",
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_here_as_in_transformers(name: str) -> None:
    theirs = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer(), **TOKENS)
    expected = theirs.apply_chat_template(
        SAID, chat_template=TEMPLATES[name], tokenize=False, add_generation_prompt=True
    )
    config = answering({**TOKENS, "chat_template": TEMPLATES[name]})
    assert expected and ChatTemplate(TEMPLATES[name], config).render(SAID) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content + tools }}",
        "{{ messages[0].content + nobody_sets_this }}",
        "{{ raise_exception('no users here') }}",
        "{{ messages[3].content.strip() }}",
    ],
)
def test_a_template_that_cannot_render_a_message_is_refused_before_it_is_published(template: str) -> None:
    with pytest.raises(UnsupportedModel, match=r"chat_template cannot render \[.*; mend it"):
        answering({"chat_template": template})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"extra_special_tokens": {"image_token": "<i>"}}, {"image_token": "<i>"}),
        ({"model_specific_special_tokens": {"image_token": {"content": "<i>"}}}, {"image_token": "<i>"}),
        ({"additional_special_tokens": ["<a>", {"content": "<b>"}]}, {"additional_special_tokens": ["<a>", "<b>"]}),
        ({"extra_special_tokens": ["<a>"]}, {"additional_special_tokens": ["<a>"]}),
        ({"add_bos_token": True, "pad_token": None, "eos_token": ""}, {}),
    ],
)  # fmt: skip
def test_special_tokens_are_found_wherever_an_exporter_keeps_them(
    config: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert answering(config) == expected


def test_special_tokens_of_a_file_of_their_own_reach_the_template(tiny: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        if path.name != "manifest.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"pad_token": {"content": "<pad>"}, "eos_token": "old"})
    )
    config = {"eos_token": "</s>", "chat_template": "{{ pad_token }}{{ eos_token }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found = read_source(str(tmp_path)).tokenizer_config
    assert ChatTemplate(found["chat_template"], found).render(SAID) == "<pad></s>"
