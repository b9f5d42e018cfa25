"""Run SQL with ai_query by the Databricks SDK: a table, a question for each of its rows, the answers."""

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.sql import StatementParameterListItem, StatementState

w = WorkspaceClient()
warehouse = next(iter(w.warehouses.list()))
found = w.statement_execution.execute_statement(
    """
    SELECT name, ai_query('databricks-meta-llama-3-3-70b-instruct', :ask || name,
                          modelParameters => named_struct('max_tokens', 64)) AS answer
    FROM VALUES ('Ana'), ('Ben') AS people(name)
    """,
    warehouse_id=warehouse.id,
    parameters=[StatementParameterListItem(name="ask", value="Say hello to ")],
    wait_timeout="50s",
)
assert found.status.state is StatementState.SUCCEEDED, found.status.error
print([column.name for column in found.manifest.schema.columns])
for name, answer in found.result.data_array:
    print(name, "-", answer)
