"""Fields of other servers with this wire format that change an answer, each with the values that ask for nothing.

Clients send them as `extra_body`. A field that stands here is honoured or refused by name; else it would be ignored,
and the client would take the answer for what it asked. Names: vLLM's extra parameters of its OpenAI-compatible server,
SGLang's sampling parameters, the README of llama.cpp's server, Text Generation Inference's and Ollama's parameters, and
OpenRouter's and Mistral's API, as documented by 2026-12-01.
"""

Neutral = dict[str, tuple[object, ...]]

SAMPLING: Neutral = {
    **dict.fromkeys(("repetition_penalty", "repeat_penalty", "length_penalty", "typical_p", "tfs_z", "typical"), (1,)),
    **dict.fromkeys(("min_p", "top_a", "epsilon_cutoff", "eta_cutoff", "mirostat", "xtc_probability"), (0,)),
    **dict.fromkeys(("dry_multiplier", "dynatemp_range", "smoothing_factor", "top_n_sigma", "min_new_tokens"), (0,)),
    **dict.fromkeys(("use_beam_search", "watermark", "penalize_nl", "early_stopping"), (False,)),
    **dict.fromkeys(("bad_words", "bad_words_ids", "allowed_token_ids", "samplers", "logits_processors"), ([],)),
    "do_sample": (True,),
    "num_beams": (1,),
    "custom_logit_processor": (),
    "penalty_prompt": (),
    "thinking_token_budget": (),
    "random_seed": (),
}  # fmt: skip

LENGTH: Neutral = {
    **dict.fromkeys(("n_predict", "num_predict", "max_new_tokens", "max_length", "num_ctx", "truncate"), ()),
    **dict.fromkeys(("truncate_prompt_tokens", "prompt_truncate_len", "n_keep", "n_indent", "t_max_predict_ms"), ()),
    **dict.fromkeys(("stop_regex", "stop_sequences", "stopping_strings"), ([], "")),
    "include_stop_str_in_output": (False,),
    "no_stop_trim": (False,),
}  # fmt: skip

STRUCTURE: Neutral = {
    **dict.fromkeys(("structured_outputs", "json_schema", "guided_json", "response_schema"), ({},)),
    **dict.fromkeys(
        ("regex", "ebnf", "grammar", "guided_regex", "guided_grammar", "structural_tag", "format"), ("",)
    ),
    **dict.fromkeys(("guided_choice", "grammar_triggers"), ([],)),
    **dict.fromkeys(("guided_decoding_backend", "guided_whitespace_pattern", "guided_options"), ()),
    "grammar_lazy": (False,),
}

PROMPT: Neutral = {
    **dict.fromkeys(("chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs"), ({},)),
    **dict.fromkeys(("documents", "images", "transforms"), ([],)),
    **dict.fromkeys(("chat_template", "template", "system", "prompt_embeds", "input_ids"), ("",)),
    **dict.fromkeys(("enable_thinking", "think", "thinking", "thinking_budget", "reasoning"), (False,)),
    **dict.fromkeys(("continue_final_message", "safe_prompt"), (False,)),
    "add_generation_prompt": (True,),
    "add_special_tokens": (),
    "reasoning_format": ("none", "auto"),
}

OUTPUT: Neutral = {
    **dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens"), (True,)),
    **dict.fromkeys(
        ("return_token_ids", "return_tokens_as_token_ids", "return_hidden_states", "details"), (False,)
    ),
    **dict.fromkeys(
        ("decoder_input_details", "return_logprob", "return_full_text", "timings_per_token"), (False,)
    ),
    **dict.fromkeys(("prompt_logprobs", "top_n_tokens", "n_probs", "return_progress"), (0, False)),
    "post_sampling_probs": (False,),
}

PLACE: Neutral = {
    **dict.fromkeys(
        ("priority", "adapter_id", "lora_path", "lora", "cache_salt", "fallbacks", "models"), (0, "", [])
    ),
    **dict.fromkeys(("kv_transfer_params", "vllm_xargs", "session_params", "provider", "options"), ({},)),
}

FOREIGN: Neutral = SAMPLING | LENGTH | STRUCTURE | PROMPT | OUTPUT | PLACE
"""Field -> the values that ask for nothing; null, for every one, is a field left out."""
