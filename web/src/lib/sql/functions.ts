// The AI functions, for completion: docs/reference/sql-functions.md.
export const FUNCTIONS: [name: string, arguments_: string, gives: string][] = [
  ["ai_query", "endpoint, request, returnType, failOnError, modelParameters, responseFormat, files", "STRING"],
  ["ai_gen", "prompt", "STRING"],
  ["ai_classify", "content, labels", "STRING"],
  ["ai_extract", "content, labels", "STRUCT"],
  ["ai_summarize", "content, max_words", "STRING"],
  ["ai_translate", "content, to_lang", "STRING"],
  ["ai_analyze_sentiment", "content", "STRING"],
  ["ai_fix_grammar", "content", "STRING"],
  ["ai_mask", "content, labels", "STRING"],
  ["ai_similarity", "expr1, expr2", "FLOAT"],
];

/** What stands before the cursor, as far as it decides what is offered. */
export type Wanted = { kind: "endpoint" | "table" | "word"; from: number; typed: string } | null;

export function wantedAt(before: string): Wanted {
  const endpoint = /\bai_query\s*\(\s*(?:endpoint\s*=>\s*)?'([^'\n]*)$/i.exec(before);
  if (endpoint) return { kind: "endpoint", from: before.length - (endpoint[1]?.length ?? 0), typed: endpoint[1] ?? "" };
  const table = /\b(?:from|join|into|update|table|describe|overwrite)\s+([\w.`-]*)$/i.exec(before);
  if (table) return { kind: "table", from: before.length - (table[1]?.length ?? 0), typed: table[1] ?? "" };
  const word = /(?:^|[^\w'`])(\w*)$/.exec(before);
  return word ? { kind: "word", from: before.length - (word[1]?.length ?? 0), typed: word[1] ?? "" } : null;
}

/** Tables that a statement names, whose columns may be meant. */
export function tablesIn(statement: string): string[] {
  const found = statement.matchAll(/\b(?:from|join|into|update)\s+((?:[\w-]+|`[^`\n]+`)(?:\.(?:[\w-]+|`[^`\n]+`)){0,2})/gi);
  return [...new Set([...found].map((one) => one[1] ?? ""))].filter(Boolean).slice(0, 4);
}
