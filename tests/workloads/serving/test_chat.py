"""A model's chat template is data: what it cannot make of messages is told to whoever sent them."""

import pytest

from workloads.serving.chat import ChatTemplate
from workloads.serving.protocol import ApiError

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
