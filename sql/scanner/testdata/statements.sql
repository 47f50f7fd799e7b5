-- Statements that the server takes, with a line of percent signs between: those
-- whose ends are hard to find. server_test.go puts them together at random.
SELECT 1
%%
SELECT 'it''s; -- no comment /*', "a;""b" FROM (VALUES (1, 2)) x("a;""b", y)
%%
SELECT E'\';' || e'it''s \\' || E'a'
  -- a comment; within a text
  ';\'' AS "$a$"
%%
SELECT 'a' -- ;'
	 'b;'
%%
SELECT $$;$$, $a$ ; $$ ; $b$ ; $A$ ; '$a$, $ü_1$;$ü_1$
%%
SELECT a$b$c, "$$;" FROM t$1$2
%%
SELECT B'1010', X'1f'
 'a' FROM b
%%
SELECT N'a;b', n'\', nchar ';'
%%
SELECT U&'\0041;\\', U&"d!0061t;" UESCAPE '!', U&'!;' uescape '$' FROM t
%%
SELECT $1 + $2, $1-$$;$$
%%
SELECT 1+-- ; plus minus one
-1, 2 - -/* ; */1, 3 */* ; /* ; */ */-1
%%
SELECT a@-1, b<>-1, c<=+1, d#>>'{;}', e->>';', f?|array[';'] FROM t
%%
SELECT 1., .5, 1.5e-3, 1e+5, a[1:2], 'x'::text, f(a => 1, b := 2), (x).y.*
%%
SELECT /*/ ; */ 1 /**//***/ /* /*;*/ ; */
%%
SELECT CASE WHEN a THEN ';' END AS end, x.case, y AS begin FROM x
%%
(SELECT 1) UNION ALL (SELECT 2 ORDER BY 1) ORDER BY (1)
%%
CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (';'); DELETE FROM v; NOTIFY w)
%%
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC
	SELECT 1 AS end; -- end;
	INSERT INTO t VALUES (1);;
	SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END ELSE 3 END;
	RETURN x.case;
END
%%
CREATE OR REPLACE /* ; */ PROCEDURE p(begin int, atomic int) BEGIN ATOMIC END
%%
CREATE FUNCTION begin.atomic(x text DEFAULT 'begin atomic;') RETURNS begin RETURN x || ';'
%%
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END; $$
%%
CREATE FUNCTION f() RETURNS int LANGUAGE begin SET atomic TO begin AS 'a;', 'b;'
%%
CREATE TABLE atomic (begin atomic, "end;" int DEFAULT 1)
%%
CREATE VIEW begin AS SELECT 1 begin, 2 atomic
%%
DO $do$ BEGIN EXECUTE $x$ ; $x$; END; $do$
%%
BEGIN ISOLATION LEVEL SERIALIZABLE
%%
END AND NO CHAIN
%%
COPY t (a, b) FROM STDIN WITH (DELIMITER ';', NULL '\N')
%%
SET a.b TO 'x;', "y;", -1.5
%%
CREATE EXTENSION "x;" VERSION ';'
%%
LOAD ';'
%%
INSERT INTO t VALUES ((';'), (ARRAY[';', '['])), (DEFAULT, (1))
%%
PREPARE p (int) AS SELECT $1, ';'
%%
SELECT ü_é$, "日本;" FROM ñ
