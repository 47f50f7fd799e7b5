-- The client of docker-compose.yml: proves that the workers of the host count. It
-- gives each of them something to add up and waits for the total, first the two
-- static ones, then one that it launches itself. Any error ends psql with code 3.
--
--   psql -X -f client.sql
\set ON_ERROR_STOP on
SET statement_timeout = '90s';
SET client_min_messages = notice;

-- Adds two deltas and returns once they are gone and in the total.
CREATE PROCEDURE pg_temp.count(schema text) LANGUAGE plpgsql AS $$
DECLARE
    counted text := format('%I.counted', schema);
    before int;
    total int;
    deltas int;
BEGIN
    WHILE to_regclass(counted) IS NULL LOOP -- until the worker has made it
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
    EXECUTE format('INSERT INTO %s VALUES (''total'', 0) ON CONFLICT DO NOTHING', counted);
    EXECUTE format('SELECT value FROM %s WHERE type = ''total''', counted) INTO before;
    EXECUTE format('INSERT INTO %s VALUES (''delta'', 10), (''delta'', 100)', counted);
    LOOP
        COMMIT;
        EXECUTE format('SELECT sum(value) FILTER (WHERE type = ''total''), count(*) FILTER (WHERE type = ''delta'') FROM %s', counted) INTO total, deltas;
        EXIT WHEN deltas = 0;
        PERFORM pg_sleep(0.1);
    END LOOP;
    IF total <> before + 110 THEN
        RAISE EXCEPTION 'the total of % went from % to %, and not to %', counted, before, total, before + 110;
    END IF;
    RAISE NOTICE 'the total of % has followed: % + 110 = %', counted, before, total;
END $$;

CALL pg_temp.count('schema1');
CALL pg_temp.count('schema2');

SELECT pgexthost.launch('worker_spi', 'worker_spi_main', 'launched by the client', main_arg => 3) AS request \gset
SELECT pgexthost.wait_for_startup(:request) AS pid \gset
\echo worker with PID :pid was launched
CALL pg_temp.count('schema3');
SELECT pgexthost.terminate(:request) AS asked \gset
SELECT pgexthost.wait_for_shutdown(:request) AS state \gset
\echo worker with PID :pid has :state
