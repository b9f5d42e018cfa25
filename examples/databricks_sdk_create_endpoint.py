"""Make an endpoint with the Databricks SDK, its key in a secret; query it, change it, delete it."""

import time

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    ChatMessage,
    ChatMessageRole,
    EndpointCoreConfigInput,
    EndpointTag,
    ExternalModel,
    ExternalModelProvider,
    OpenAiConfig,
    Route,
    ServedEntityInput,
    TrafficConfig,
)

NAME = "example-endpoint"

w = WorkspaceClient()
w.secrets.create_scope(NAME)
w.secrets.put_secret(NAME, "key", string_value=w.config.token)


def entity(name: str) -> ServedEntityInput:
    # The provider is this very host; anybody who speaks OpenAI's form can stand here.
    openai = OpenAiConfig(
        openai_api_base=w.config.host + "/serving-endpoints",
        openai_api_key=f"{{{{secrets/{NAME}/key}}}}",
    )
    return ServedEntityInput(
        name=name,
        external_model=ExternalModel(
            name="databricks-meta-llama-3-3-70b-instruct",
            provider=ExternalModelProvider.OPENAI,
            task="llm/v1/chat",
            openai_config=openai,
        ),
    )


try:
    made = w.serving_endpoints.create_and_wait(
        NAME,
        config=EndpointCoreConfigInput(name=NAME, served_entities=[entity("one")]),
        tags=[EndpointTag("team", "examples")],
    )
    print(made.name, made.state.ready.value)

    time.sleep(1)  # within which a change is known everywhere
    question = ChatMessage(role=ChatMessageRole.USER, content="What is a mosaic?")
    answer = w.serving_endpoints.query(NAME, messages=[question], max_tokens=64)
    print(answer.choices[0].message.content)

    changed = w.serving_endpoints.update_config_and_wait(
        NAME,
        served_entities=[entity("one"), entity("two")],
        traffic_config=TrafficConfig(
            routes=[
                Route(served_model_name="one", traffic_percentage=90),
                Route(served_model_name="two", traffic_percentage=10),
            ]
        ),
    )
    for route in changed.config.traffic_config.routes:
        print(route.served_entity_name, route.traffic_percentage, "%")
finally:
    if NAME in [one.name for one in w.serving_endpoints.list()]:
        w.serving_endpoints.delete(NAME)
    w.secrets.delete_scope(NAME)
