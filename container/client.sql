-- The client of docker-compose.yml: proves that the workers of the host count. It
-- gives each of them something to add up and waits for the total, first the two
-- static ones, then one that it launches itself, as the server's own client would.
-- Any error ends psql with code 3.
--
--   psql -h HOST -p 5433 -X -f client.sql
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

CREATE EXTENSION IF NOT EXISTS worker_spi;
SELECT worker_spi_launch(3) AS pid \gset
\echo worker with PID :pid was launched
CALL pg_temp.count('schema3');
SELECT backend_type AS type FROM pg_stat_activity WHERE pid = :pid \gset
SELECT pg_terminate_backend(:pid, 10000) AS ended \gset
\echo :type with PID :pid has ended: :ended
