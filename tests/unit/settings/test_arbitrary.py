"""Whatever stands in a stack file is loaded or refused in words; nothing else ever happens."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.settings.load import load_stack_settings
from components.settings.mistakes import SettingsError
from components.settings.model import StackSettings
from tests.unit.settings.files import LOCAL

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["local", "east", "cpu", "training://coder", "apps", "platform", "none", "coder", "serve"]
    )
)
KEYS = st.sampled_from([*StackSettings.model_fields, "name", "port", "dial", "replicas", "model", "pool"])
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
SOONER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def loads_or_is_refused_in_words(config: dict[str, Any]) -> None:
    refused = None
    try:
        load_stack_settings(config)
    except SettingsError as error:
        refused = error
    if refused is not None:
        assert refused.mistakes
        for mistake in refused.mistakes:
            assert mistake.path and mistake.rule and mistake.remedy
            assert mistake.path in str(refused)


@SOONER
@example({"[key]": None})
@given(st.dictionaries(KEYS | st.text(max_size=5), JSON, max_size=6))
def test_any_mapping_loads_or_is_refused_in_words(config: dict[str, Any]) -> None:
    loads_or_is_refused_in_words(config)


def changed(node: Any, data: st.DataObject) -> Any:
    """The node with one random value below it replaced, deleted or inserted."""
    if isinstance(node, dict | list) and node and data.draw(st.integers(0, 3), "how deep"):
        key = data.draw(
            st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))), "where"
        )
        action = data.draw(st.sampled_from(["go on", "go on", "replace", "delete", "insert"]), "what")
        if action == "delete":
            del node[key]
        elif action == "insert" and isinstance(node, dict):
            node[data.draw(KEYS | st.text(max_size=5), "key")] = data.draw(JSON, "value")
        elif action == "insert" and isinstance(node, list):
            node.insert(key, data.draw(JSON, "value"))
        else:
            node[key] = changed(node[key], data) if action == "go on" else data.draw(JSON, "value")
        return node
    return data.draw(JSON, "value")


@SOONER
@given(st.data())
def test_the_local_stack_with_random_changes_loads_or_is_refused_in_words(data: st.DataObject) -> None:
    config = copy.deepcopy(LOCAL)
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        result = changed(config, data)
        config = result if isinstance(result, dict) else config
    loads_or_is_refused_in_words(config)
