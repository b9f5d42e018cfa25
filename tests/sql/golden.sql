CREATE OR REPLACE TEMPORARY VIEW t AS SELECT id AS i, concat('s', id) AS s, if(id % 3 = 0, NULL, concat('k', id % 2)) AS k FROM range(6)
;
SELECT ai_query('chat', s) AS a FROM t ORDER BY i
;
SELECT ai_query(endpoint => 'chat', request => s) AS a FROM t ORDER BY i
;
SELECT ai_query('chat', concat('Summarize: ', s), modelParameters => named_struct('max_tokens', 100, 'temperature', 0.0), failOnError => false) AS r FROM t ORDER BY i
;
SELECT ai_query('chat', s, failOnError => false).result AS r FROM t ORDER BY i
;
SELECT ai_query('chat', s, returnType => 'STRING') AS r FROM t ORDER BY i
;
SELECT ai_query('chat', s, responseFormat => '{"type": "json_object"}') AS r FROM t ORDER BY i
;
SELECT ai_query('emb', s) AS e FROM t ORDER BY i
;
SELECT size(ai_query('emb', s)) AS n, ai_query('emb', s)[0] AS first FROM t ORDER BY i
;
SELECT i, ai_gen(s) a, ai_fix_grammar(s) b FROM t ORDER BY i
;
SELECT ai_gen(ai_gen(s)) a FROM t ORDER BY i
;
SELECT i FROM t WHERE ai_gen(s) LIKE '%3%'
;
SELECT i FROM t WHERE ai_gen(s) = '<s1>' OR i = 2
;
SELECT CASE WHEN i > 2 THEN ai_gen(s) WHEN k IS NULL THEN 'none' ELSE k END r FROM t ORDER BY i
;
SELECT a.i, ai_gen(b.s) r FROM t a JOIN t b ON a.i = b.i + 1 ORDER BY a.i
;
SELECT a.i, b.r FROM t a LEFT JOIN (SELECT i, ai_gen(s) r FROM t WHERE i < 3) b ON a.i = b.i ORDER BY a.i
;
SELECT k, count(*) c, max(ai_gen(s)) m FROM t GROUP BY k ORDER BY k
;
SELECT ai_gen(k) g, count(*) c FROM t GROUP BY ai_gen(k) ORDER BY g
;
SELECT k, count(*) c FROM t GROUP BY k HAVING max(ai_gen(s)) > '<s3>' ORDER BY k
;
WITH a AS (SELECT i, ai_gen(s) r FROM t), b AS (SELECT * FROM a WHERE i > 1) SELECT * FROM b ORDER BY i
;
SELECT (SELECT max(ai_gen(s)) FROM t) AS m
;
SELECT i FROM t WHERE s IN (SELECT replace(replace(ai_gen(s), '<', ''), '>', '') FROM t WHERE i < 2)
;
SELECT ai_gen(s) a FROM t WHERE i < 2 UNION SELECT ai_gen(s) FROM t WHERE i < 3
;
SELECT i, row_number() OVER (PARTITION BY k ORDER BY ai_gen(s) DESC) n FROM t ORDER BY i
;
SELECT i, lag(ai_gen(s)) OVER (ORDER BY i) p FROM t ORDER BY i
;
SELECT x, ai_gen(x) a FROM t LATERAL VIEW explode(array(s, k)) e AS x ORDER BY i, x
;
SELECT i, x FROM t, LATERAL (SELECT ai_gen(t.s) AS x) ORDER BY i
;
SELECT DISTINCT ai_gen(k) d FROM t
;
SELECT ai_gen(s) a FROM t ORDER BY ai_gen(s) DESC LIMIT 2
;
SELECT ai_classify(s, array('a', 'b')) c FROM t ORDER BY i
;
SELECT named_struct('a', 1, 'b', ai_gen('x')) AS st, array(ai_gen('y'), ai_gen('z')) ar, map('k', ai_gen('w')) m
;
SELECT 'it''s' AS a, "double" AS b, 'a\nb' AS c, r'raw\n' AS d
;
SELECT parse_json('{"a": {"b": [1, 2]}}'):a.b[1] AS v
;
SELECT '{"a": {"b": "x"}, "c": 3}':a.b AS v, '{"a": 1}':a::int AS n
;
DESCRIBE t
;
SELECT * FROM read_files('{data}/p', format => 'parquet') ORDER BY id
;
SELECT * FROM read_files('{data}/p/*.parquet', format => 'parquet') ORDER BY id
;
SELECT * FROM read_files('{data}/c.csv', format => 'csv', header => true) ORDER BY id
;
SELECT * FROM read_files('{data}/c.csv', format => 'csv', header => 'true', schema => 'id INT, name STRING') ORDER BY id
;
SELECT a, b.c FROM read_files('{data}/j.json', format => 'json') ORDER BY a
;
SELECT value FROM read_files('{data}/t.txt', format => 'text') ORDER BY value
;
SELECT length(content) n FROM read_files('{data}/img/*.png', format => 'binaryFile')
;
SELECT ai_query('chat', 'describe', files => content) a FROM read_files('{data}/img', format => 'binaryFile')
;
SELECT * FROM parquet.`{data}/p` ORDER BY id
;
CREATE TABLE gold AS SELECT i, ai_gen(s) AS a, k FROM t
;
SELECT * FROM gold ORDER BY i
;
INSERT INTO gold SELECT i + 100, ai_gen(concat('n', s)), 'new' FROM t WHERE i < 2
;
INSERT INTO gold VALUES (500, 'five', NULL)
;
SELECT i, a, k FROM gold ORDER BY i
;
SELECT ai_gen(a) x FROM gold WHERE k = 'new' ORDER BY i
;
CREATE TABLE nested AS SELECT 1 AS n, array(1, 2) AS a, named_struct('x', 'y') AS st, map('k', 1) AS m, DATE'2024-02-29' AS d, TIMESTAMP'2024-02-29 01:02:03' AS ts, CAST(1.25 AS DECIMAL(10,2)) AS de, X'00FF' AS b, true AS bo
;
SELECT * FROM nested
;
INSERT OVERWRITE gold SELECT 1, ai_gen('over'), 'o'
;
SELECT * FROM gold
;
CREATE TABLE empty AS SELECT id, ai_gen('x' || id) a FROM range(0)
;
SELECT count(*) c FROM empty
;
VALUES (1, 'a'), (2, 'b')
;
SELECT explode(sequence(1, 3)) AS x
;
SELECT i, s FROM t WHERE i BETWEEN 1 AND 2 ORDER BY i DESC
;
SELECT try_divide(1, 0) AS a, nullif(1, 1) AS b, coalesce(NULL, 2) AS c
;
SELECT date_format(TIMESTAMP'2024-02-29 12:34:56', 'yyyy-MM-dd HH:mm') AS f, year(DATE'2024-02-29') y, datediff(DATE'2024-03-01', DATE'2024-02-28') dd
;
SELECT from_json('{"a": 1}', 'a INT') AS j, to_json(named_struct('x', 1)) AS k, get_json_object('{"a": {"b": 2}}', '$.a.b') g
;
SELECT transform(array(1, 2), x -> x + 1) AS tr, filter(array(1, 2, 3), x -> x > 1) f, aggregate(array(1, 2), 0, (acc, x) -> acc + x) ag
;
SELECT s RLIKE '^s[12]$' AS r, regexp_replace(s, 's', 'S') p, split('a,b', ',') sp FROM t ORDER BY i
;
SELECT k, collect_list(i) l FROM (SELECT * FROM t ORDER BY i) GROUP BY k ORDER BY k
;
SELECT * FROM (SELECT k, i FROM t) PIVOT (count(i) FOR k IN ('k0', 'k1'))
;
SELECT GREATEST(1, 2) g, CAST('12' AS INT) c, 7 DIV 2 d, 7 % 3 m
;
SELECT count(DISTINCT k) c, approx_count_distinct(i) a, sum(i) s, avg(i) v FROM t
;
SELECT current_user() AS me
;
DROP TABLE gold
;
DROP TABLE IF EXISTS gold
;
SELECT path, length FROM read_files('{data}/img', format => 'binaryFile')
;
SELECT current_timezone() AS z, CAST(TIMESTAMP'2024-02-29T23:30:00-05:00' AS STRING) AS t, unix_timestamp(TIMESTAMP'2024-01-01 00:00:00') AS u
;
SELECT * FROM read_files('{data}/o/1.tsv', sep => '\t', schema => 'id INT, name STRING') ORDER BY id
;
SELECT * FROM read_files('{data}/o/quoted.csv', delimiter => ';', quote => '\'', comment => '#', schema => 'id INT, name STRING') ORDER BY id
;
SELECT * FROM read_files('{data}/o/lines.csv', multiLine => true, schema => 'id INT, name STRING')
;
SELECT * FROM read_files('{data}/o/plain.csv', header => false, schema => 'id INT, d DATE') ORDER BY id
;
SELECT * FROM read_files('{data}/o/whole.txt', wholetext => true)
;
SELECT * FROM read_files('{data}/o/escaped.csv', escape => '\\', schema => 'id INT, name STRING')
;
SELECT * FROM read_files('{data}/g', format => 'csv', pathGlobFilter => '*.csv', schema => 'id INT')
;
SELECT * FROM read_files('{data}/g/[12].csv', schema => 'id INT')
;
SELECT * FROM read_files('{data}/g/?.csv', schema => 'id INT')
