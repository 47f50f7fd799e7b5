-- The SQL functions of the example worker_spi, on any connection.

-- worker_spi_extra is what the worker finds in its extra data: three numbers of
-- four bytes, the lowest byte first.
CREATE FUNCTION @extschema@.worker_spi_extra(dboid oid, roleoid oid, flags text[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	flag text;
	bits bigint := 0;
	number bigint;
	extra bytea := '';
BEGIN
	IF array_ndims(flags) > 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'array_subscript_error', MESSAGE = 'flags array must be one-dimensional';
	ELSIF array_position(flags, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'flags array must not contain nulls';
	END IF;
	FOREACH flag IN ARRAY flags LOOP
		CASE flag
			WHEN 'ALLOWCONN' THEN bits := bits | 1;
			WHEN 'ROLELOGINCHECK' THEN bits := bits | 2;
			ELSE RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'incorrect flag value found in array';
		END CASE;
	END LOOP;
	FOREACH number IN ARRAY ARRAY[dboid::bigint, roleoid::bigint, bits] LOOP
		FOR i IN 0..3 LOOP
			extra := extra || set_byte(decode('00', 'hex'), 0, ((number >> 8 * i) & 255)::integer);
		END LOOP;
	END LOOP;
	RETURN extra;
END $$;

-- worker_spi_launch launches a dynamic worker and returns its pid, before the
-- transaction commits; NULL if no slot is free. That takes a session that goes
-- through the host's gateway.
CREATE FUNCTION @extschema@.worker_spi_launch(
	index int4, dboid oid DEFAULT 0, roleoid oid DEFAULT 0, flags text[] DEFAULT '{}', interruptible boolean DEFAULT false
) RETURNS int4 LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	extra bytea := @extschema@.worker_spi_extra(dboid, roleoid, flags);
BEGIN
	IF coalesce(current_setting('pgexthost.gateway', true), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_resources',
			MESSAGE = 'cannot start background processes without postmaster',
			DETAIL = 'This session does not go through the extension host, which learns of a launch when it is committed.',
			HINT = 'Use CALL worker_spi_launch_and_wait(...), or connect to the gateway''s port.';
	END IF;
	RETURN pgexthost.launch_now('worker_spi', 'worker_spi_main', format('worker_spi dynamic worker %s', index), 'worker_spi dynamic',
		index, extra, interruptible => interruptible);
END $$;

-- worker_spi_launch_and_wait launches a dynamic worker, commits, and returns its
-- pid once it has been started; NULL if no slot is free.
CREATE PROCEDURE @extschema@.worker_spi_launch_and_wait(
	index int4, dboid oid DEFAULT 0, roleoid oid DEFAULT 0, flags text[] DEFAULT '{}', interruptible boolean DEFAULT false, INOUT pid int4 DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
	request bigint := pgexthost.launch('worker_spi', 'worker_spi_main', pg_catalog.format('worker_spi dynamic worker %s', index),
		'worker_spi dynamic', index, @extschema@.worker_spi_extra(dboid, roleoid, flags));
BEGIN
	IF interruptible THEN
		PERFORM pgexthost.make_interruptible(request);
	END IF;
	CALL pgexthost.commit_and_wait(request, pid);
END $$;

REVOKE ALL ON FUNCTION @extschema@.worker_spi_launch(int4, oid, oid, text[], boolean), @extschema@.worker_spi_extra(oid, oid, text[]) FROM PUBLIC;
REVOKE ALL ON PROCEDURE @extschema@.worker_spi_launch_and_wait(int4, oid, oid, text[], boolean, int4) FROM PUBLIC;
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgexthost_operator') THEN
		GRANT EXECUTE ON FUNCTION @extschema@.worker_spi_launch(int4, oid, oid, text[], boolean), @extschema@.worker_spi_extra(oid, oid, text[])
			TO pgexthost_operator;
		GRANT EXECUTE ON PROCEDURE @extschema@.worker_spi_launch_and_wait(int4, oid, oid, text[], boolean, int4) TO pgexthost_operator;
	END IF;
END $$;
