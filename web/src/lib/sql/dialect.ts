// Databricks' SQL for the editor: names in backticks, texts in both kinds of quotes.
// https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-reserved-words
import { SQLDialect } from "@codemirror/lang-sql";

const KEYWORDS =
  "add after all alter analyze and anti any as asc at authorization between both by call cascade " +
  "case cast catalog catalogs change check clear cluster clustered collate collation column columns " +
  "comment commit constraint convert create cross cube current current_date current_timestamp " +
  "current_user data database databases delete delta desc describe detail distinct distribute div drop " +
  "else end escape except exists explain extended external extract false fetch filter first following " +
  "for foreign from full function functions generated global grant group grouping having identity if " +
  "ignore ilike in inner insert intersect interval into is join last lateral leading left like limit " +
  "local matched merge minus natural next no not null nulls of offset on only optimize options or " +
  "order outer overlaps overwrite partition partitioned percent pivot position preceding primary " +
  "qualify recursive references rename replace respect restrict right rlike rollback rollup row " +
  "rows schema schemas select semi sets show some start table tables tablesample temp temporary " +
  "then to top trailing transform true truncate unbounded union unique unknown unnest unpivot unset " +
  "update use user using values view views when where window with within without";
const TYPES =
  "bigint binary boolean byte char date dec decimal double float int integer long numeric short smallint string timestamp timestamp_ltz timestamp_ntz tinyint varchar variant void";

export const Databricks = SQLDialect.define({
  keywords: KEYWORDS,
  types: TYPES,
  identifierQuotes: "`",
  doubleQuotedStrings: true,
  backslashEscapes: true,
});
