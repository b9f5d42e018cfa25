// Databricks' SQL for the editor: names in backticks, texts in both kinds of quotes.
import { SQLDialect, StandardSQL } from "@codemirror/lang-sql";

const KEYWORDS = "database databases describe explain lateral merge overwrite pivot qualify replace schemas show tablesample temp temporary truncate unpivot use view views columns catalogs functions if limit";
const TYPES = "string bigint tinyint double binary array map struct variant timestamp_ntz";

export const Databricks = SQLDialect.define({
  keywords: `${StandardSQL.spec.keywords ?? ""} ${KEYWORDS}`,
  types: `${StandardSQL.spec.types ?? ""} ${TYPES}`,
  identifierQuotes: "`",
  doubleQuotedStrings: true,
  backslashEscapes: true,
});
