// Statements to begin with.  They run as they are on a server just installed; where there are other endpoints, on those.
import { sqlText } from "../code";
import { taskOf, type Endpoint } from "../endpoints";
import type { Key } from "../i18n.svelte";

const CHAT = "databricks-meta-llama-3-1-8b-instruct";
const EMBEDDINGS = "databricks-gte-large-en";

export interface Example {
  name: Key;
  hint: Key;
  text: string;
}

export function examples(endpoints: Endpoint[]): Example[] {
  const chat = sqlText(pick(endpoints, CHAT, "chat"));
  const embeddings = sqlText(pick(endpoints, EMBEDDINGS, "embeddings"));
  return [
    {
      name: "sql.example_query",
      hint: "sql.example_query_hint",
      text: `-- One question for each row.
SELECT
  topic,
  ai_query(
    ${chat},
    'Explain in one short sentence: ' || topic,
    modelParameters => named_struct('max_tokens', 40)
  ) AS answer
FROM VALUES ('a mosaic'), ('a tile'), ('mortar') AS t(topic);
`,
    },
    {
      name: "sql.example_classify",
      hint: "sql.example_classify_hint",
      text: `-- One of the labels for each row.
SELECT
  review,
  ai_classify(review, ARRAY('good', 'bad')) AS opinion
FROM VALUES
  ('It arrived early and works beautifully.'),
  ('It broke on the first day.'),
  (NULL) AS t(review);
`,
    },
    {
      name: "sql.example_similarity",
      hint: "sql.example_similarity_hint",
      text: `-- What is closest in meaning?  The last column is the length of an embedding.
SELECT
  word,
  ai_similarity(word, 'king') AS similarity,
  size(ai_query(${embeddings}, word)) AS dimensions
FROM VALUES ('queen'), ('banana'), ('castle') AS t(word)
ORDER BY similarity DESC;
`,
    },
  ];
}

function pick(endpoints: Endpoint[], wanted: string, task: string): string {
  if (!endpoints.length || endpoints.some((one) => one.name === wanted)) return wanted;
  return endpoints.find((one) => taskOf(one) === task)?.name ?? wanted;
}
