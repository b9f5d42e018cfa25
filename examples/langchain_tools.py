"""ChatDatabricks with a tool, and with an answer in a given form."""

from typing import Literal

from databricks_langchain import ChatDatabricks
from langchain_core.tools import tool
from pydantic import BaseModel, Field


@tool
def weather(city: Literal["Rome", "Oslo", "Lima"]) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


class Report(BaseModel):
    """A report about the weather."""

    city: Literal["Rome", "Oslo", "Lima"] = Field(description="The city that the text is about.")
    sunny: bool = Field(description="Whether the sun shines.")


model = ChatDatabricks(endpoint="databricks-meta-llama-3-3-70b-instruct", max_tokens=64)

answer = model.bind_tools([weather], tool_choice="any").invoke("What is the weather in Rome?")
for call in answer.tool_calls:
    print("tool:", call["name"], call["args"], "->", weather.invoke(call["args"]))

report = model.with_structured_output(Report).invoke("It is a bright day in Rome.")
print(report.city, report.sunny)
