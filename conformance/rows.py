"""The version matrix.  A row is one environment; what a row does not pin is the newest that pip finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`requirements` are what pip is asked for, `clients` the modules of `tesela.verify.clients` that run there."""

    name: str
    requirements: tuple[str, ...]
    clients: tuple[str, ...]


ROWS = (
    Row("openai-1.99", ("openai==1.99.*",), ("openai_calls",)),
    Row("openai-2", ("openai>=2,<3",), ("openai_calls",)),
    Row("openai-3", ("openai>=3,<4",), ("openai_calls",)),
    # openai 1.54 is of the same month; it wants the httpx of that time.
    Row(
        "databricks-sdk-0.38",
        ("databricks-sdk==0.38.0", "openai==1.54.4", "httpx<0.28"),
        ("sdk_calls", "sdk_control_calls"),
    ),
    Row(
        "databricks-sdk-0.67",
        ("databricks-sdk[openai]==0.67.0",),
        ("sdk_calls", "sdk_control_calls"),
    ),
    Row("databricks-sdk-newest", ("databricks-sdk[openai]",), ("sdk_calls", "sdk_control_calls")),
    Row("mlflow-2", ("mlflow-skinny>=2,<3",), ("mlflow_calls", "mlflow_control_calls")),
    Row("mlflow-3", ("mlflow-skinny>=3,<4",), ("mlflow_calls", "mlflow_control_calls")),
    Row(
        "langchain-databricks-0.1.2",
        ("langchain-databricks==0.1.2", "mlflow<3", "setuptools<81"),
        ("old_langchain_calls",),
    ),
    Row("databricks-langchain-newest", ("databricks-langchain",), ("langchain_calls",)),
    Row("databricks-openai-newest", ("databricks-openai",), ("databricks_openai_calls",)),
)
