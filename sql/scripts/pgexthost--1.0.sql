-- Schema pgexthost, version 1.0: background workers launched, seen and stopped
-- with plain SQL. Installed by "pgexthost extension install pgexthost", as one
-- transaction with search_path = pg_catalog, pg_temp.
--
-- Who may do what is said in rights.sql, which every installation and every
-- upgrade ends with. Here everything is taken away from PUBLIC.
--
-- Functions that run with the owner's rights fix their search_path. Those that
-- cannot, because they commit, name the schema of everything they use.

CREATE SCHEMA pgexthost;
COMMENT ON SCHEMA pgexthost IS 'background workers outside the server: see https://github.com/pgexthost/pgexthost';

-- What "pgexthost extension install" has installed in this database.
CREATE TABLE pgexthost.extension (
	name         text PRIMARY KEY,
	version      text NOT NULL,
	schema       text NOT NULL,
	requires     text[] NOT NULL, -- the extensions that it needs, of ours or of the server's
	installed_by text NOT NULL DEFAULT current_user,
	installed_at timestamptz NOT NULL DEFAULT now()
);

-- The one host that serves this database. Its request launcher holds an
-- advisory lock as well, from which a crash of it is seen at once; the epoch
-- keeps one that has lost the lock without noticing from writing anything.
CREATE TABLE pgexthost.owner (
	singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	epoch          bigint NOT NULL DEFAULT 0,
	host           uuid,
	incarnation    text,
	postmaster_pid integer,
	session_pid    integer,
	since          timestamptz
);
INSERT INTO pgexthost.owner DEFAULT VALUES;

-- One row for each worker that was asked for, for as long as it is remembered.
--
--   pending ──► started ──► ended, failed
--      └──────► cancelled, failed
CREATE TABLE pgexthost.request (
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	state        text NOT NULL DEFAULT 'pending'
	             CHECK (state IN ('pending', 'started', 'ended', 'failed', 'cancelled')),
	library      text NOT NULL,
	function     text NOT NULL,
	name         text NOT NULL,
	type         text NOT NULL,
	main_arg     bigint NOT NULL,
	extra        bytea NOT NULL,
	restart_time integer NOT NULL,
	start_time   text NOT NULL,
	dedup_key    text,
	interruptible boolean NOT NULL DEFAULT false,
	declared     text,   -- the name of the row of pgexthost.worker that it is for
	revision     bigint, -- and the revision of that row
	requested_by text NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	made_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
	terminate_by text,
	terminate_at timestamptz,
	terminated_in xid8,
	-- Who runs it: a registration of that host, in that incarnation of its shared
	-- memory. The database is the one in which that was written down, from which
	-- a copy of this one differs.
	host         uuid,
	incarnation  text,
	database     oid,
	handle       text,
	pid          integer,
	started_at   timestamptz,
	ended_at     timestamptz,
	exit_code    integer,
	sqlstate     text, -- why it has failed, or why it is still pending
	message      text
);
CREATE UNIQUE INDEX request_dedup_key ON pgexthost.request (dedup_key) WHERE state IN ('pending', 'started');
CREATE UNIQUE INDEX request_declared ON pgexthost.request (declared) WHERE state IN ('pending', 'started');
CREATE INDEX request_live ON pgexthost.request (id) WHERE state IN ('pending', 'started');
CREATE INDEX request_name ON pgexthost.request (name);
CREATE INDEX request_ended ON pgexthost.request (ended_at) WHERE state IN ('ended', 'failed', 'cancelled');

-- A row keeps a worker running for as long as it exists: one that ends, in
-- whatever way, is launched again after restart_time. A changed row ends the
-- worker, and launches it anew.
CREATE TABLE pgexthost.worker (
	name         text PRIMARY KEY,
	library      text NOT NULL,
	function     text NOT NULL,
	type         text,
	main_arg     bigint NOT NULL DEFAULT 0,
	extra        bytea NOT NULL DEFAULT '',
	restart_time integer NOT NULL DEFAULT 60 CHECK (restart_time >= 0),
	start_time   text NOT NULL DEFAULT 'running',
	declared_by  text,
	revision     bigint
);
CREATE SEQUENCE pgexthost.worker_revision OWNED BY pgexthost.worker.revision;

-- What the host says of its slots. It is worth nothing once the host is gone.
CREATE UNLOGGED TABLE pgexthost.published (
	host  uuid PRIMARY KEY,
	at    timestamptz NOT NULL DEFAULT now(),
	slots jsonb NOT NULL
);

-- caller returns the role of the session: what SET ROLE has made it, or else what
-- it has logged in as. In a function with the owner's rights current_user is the
-- owner, here and wherever such a function calls ours.
CREATE FUNCTION pgexthost.caller() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN coalesce(nullif(current_setting('role'), 'none'), session_user::text);

-- size returns how many bytes a text has for the host, which speaks UTF8.
CREATE FUNCTION pgexthost.size(value text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN octet_length(convert_to(value, 'UTF8'));

-- clip returns as many characters of a text as fit a number of bytes.
CREATE FUNCTION pgexthost.clip(value text, size integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	clipped text := left(value, size);
BEGIN
	WHILE pgexthost.size(clipped) > size LOOP
		clipped := left(clipped, -1);
	END LOOP;
	RETURN clipped;
END $$;

-- make_name returns the name of a worker that was given none. Of a library and a
-- function that do not fit, the longer one is cut, as the server does with names
-- that it makes.
CREATE FUNCTION pgexthost.make_name(library text, function text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN pgexthost.clip(library, greatest(94 - pgexthost.size(function), 47)) || ' ' || pgexthost.clip(function, greatest(94 - pgexthost.size(library), 47));

-- check_text refuses what does not fit the host's registration, where C truncates,
-- and what would spoil the log.
CREATE FUNCTION pgexthost.check_text(worker text, what text, value text, size integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF value ~ E'[\\x01-\\x1f\\x7f]' COLLATE "C" THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('background worker "%s": %s contains a control character', regexp_replace(worker, E'[\\x01-\\x1f\\x7f]' COLLATE "C", '?', 'g'), what),
			DETAIL = 'Newlines and tabs are such characters, too.';
	ELSIF pgexthost.size(value) > size THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('background worker "%s": %s is too long', worker, what),
			DETAIL = format('It has %s bytes; at most %s are allowed.', pgexthost.size(value), size);
	END IF;
END $$;

-- check_worker applies the rules for a registration that do not depend on the
-- host, and those for requests from SQL.
CREATE FUNCTION pgexthost.check_worker(library text, function text, name text, type text, extra bytea, restart_time integer, start_time text)
RETURNS void LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF library IS NULL OR library = '' OR function IS NULL OR function = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'a library and a function are needed';
	ELSIF name IS NULL OR name = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a background worker needs a name';
	END IF;
	PERFORM pgexthost.check_text(name, 'name', name, 95);
	PERFORM pgexthost.check_text(name, 'type', type, 95);
	PERFORM pgexthost.check_text(name, 'library name', library, 1023);
	PERFORM pgexthost.check_text(name, 'function name', function, 95);
	-- Files and the host's internal functions are the administrator's.
	IF strpos(library, '/') > 0 OR library = 'postgres' THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied to launch functions of library "%s"', library),
			HINT = 'From SQL, libraries are named without a slash, and "postgres" is none.';
	END IF;
	IF restart_time < -1 OR restart_time > 86400000 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('background worker "%s": invalid restart interval', name);
	END IF;
	IF start_time NOT IN ('postmaster', 'consistent', 'running') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('background worker "%s": invalid start time', name),
			HINT = 'Available values: postmaster, consistent, running.';
	END IF;
	IF length(extra) > 128 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'extra data are longer than 128 bytes',
			DETAIL = format('There are %s bytes.', length(extra));
	END IF;
END $$;

-- launch asks for a dynamic worker and returns the request's id. The host learns
-- of it when the transaction commits; if that is rolled back, nothing has happened.
CREATE FUNCTION pgexthost.launch(
	library text, function text, name text DEFAULT NULL, type text DEFAULT NULL, main_arg bigint DEFAULT 0, extra bytea DEFAULT '',
	restart_time integer DEFAULT -1, start_time text DEFAULT 'running', dedup_key text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	worker_name text := coalesce(nullif(launch.name, ''), pgexthost.make_name(launch.library, launch.function));
	worker_type text := coalesce(nullif(launch.type, ''), worker_name);
	worker_extra bytea := coalesce(launch.extra, '');
	worker_restart integer := coalesce(launch.restart_time, -1);
	worker_start text := coalesce(launch.start_time, 'running');
	request_id bigint;
BEGIN
	PERFORM pgexthost.check_worker(launch.library, launch.function, worker_name, worker_type, worker_extra, worker_restart, worker_start);
	LOOP
		-- Waits for whoever is just entering or ending a request with this key.
		INSERT INTO pgexthost.request AS r (library, function, name, type, main_arg, extra, restart_time, start_time, dedup_key, requested_by)
		VALUES (launch.library, launch.function, worker_name, worker_type, coalesce(launch.main_arg, 0), worker_extra,
		        worker_restart, worker_start, launch.dedup_key, pgexthost.caller())
		ON CONFLICT (dedup_key) WHERE state IN ('pending', 'started') DO NOTHING
		RETURNING r.id INTO request_id;
		EXIT WHEN request_id IS NOT NULL;
		SELECT r.id INTO request_id FROM pgexthost.request r
		WHERE r.dedup_key = launch.dedup_key AND r.state IN ('pending', 'started');
		IF request_id IS NOT NULL THEN
			RETURN request_id;
		END IF;
	END LOOP;
	PERFORM pg_notify('pgexthost', '');
	RETURN request_id;
END $$;

-- terminate_requests ends what is live of these requests: one that has not been
-- started never will be, another gets SIGTERM and is not restarted.
CREATE FUNCTION pgexthost.terminate_requests(ids bigint[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE pgexthost.request r
	SET terminate_by = coalesce(r.terminate_by, pgexthost.caller()), terminate_at = coalesce(r.terminate_at, clock_timestamp()),
	    terminated_in = pg_current_xact_id(),
	    state = CASE r.state WHEN 'pending' THEN 'cancelled' ELSE r.state END,
	    ended_at = CASE r.state WHEN 'pending' THEN clock_timestamp() END
	WHERE r.id = ANY (ids) AND r.state IN ('pending', 'started');
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM pg_notify('pgexthost', '');
	RETURN true;
END $$;

-- terminate ends for good all workers of a name that were launched from this
-- database, once the transaction commits. It does not wait for their end.
CREATE FUNCTION pgexthost.terminate(name text) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pgexthost.terminate_requests(ARRAY(SELECT r.id FROM pgexthost.request r
		WHERE r.name = terminate.name AND r.state IN ('pending', 'started') ORDER BY r.id)) THEN
		RETURN true;
	END IF;
	RAISE WARNING 'there is no background worker "%"', name
		USING HINT = 'Only workers that were launched from this database can be terminated here.';
	RETURN false;
END $$;

-- terminate ends the worker of one request for good.
CREATE FUNCTION pgexthost.terminate(request bigint) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pgexthost.terminate_requests(ARRAY[request]) THEN
		RETURN true;
	END IF;
	RAISE WARNING 'request % is neither pending nor started', request;
	RETURN false;
END $$;

-- make_interruptible lets commands that need the worker's database for themselves
-- end it. Only the transaction that has made the request can say so.
CREATE FUNCTION pgexthost.make_interruptible(request bigint) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r pgexthost.request;
BEGIN
	SELECT * INTO r FROM pgexthost.request q
	WHERE q.id = make_interruptible.request AND q.made_in = pg_current_xact_id_if_assigned() AND q.state = 'pending';
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('request %s was not made in this transaction', request);
	ELSIF r.start_time = 'postmaster' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('background worker "%s": cannot make background workers interruptible without database access', r.name);
	END IF;
	UPDATE pgexthost.request q SET interruptible = true WHERE q.id = make_interruptible.request;
END $$;

-- made_here reports whether the present transaction has made a request.
CREATE FUNCTION pgexthost.made_here(request bigint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM pgexthost.request r WHERE r.id = request AND r.made_in = pg_current_xact_id_if_assigned());

-- check_wait refuses waits that could not come to an end.
CREATE FUNCTION pgexthost.check_wait(request bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot wait for a background worker in a transaction with isolation level %s', current_setting('transaction_isolation')),
			DETAIL = 'It would never see what becomes of the request.',
			HINT = 'Wait in a READ COMMITTED transaction.';
	END IF;
	IF pgexthost.made_here(request) THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot wait for request %s in the transaction that has made it', request),
			DETAIL = 'The worker starts when the transaction has been committed.',
			HINT = 'Commit first, or use CALL pgexthost.launch_and_wait(...).';
	END IF;
END $$;

-- look_for_start returns whether there is nothing to wait for any more, with the
-- pid of the process that was started; and raises what has kept it from being
-- started. A request that no slot is free for may be given up: then there is no
-- pid, as worker_spi_launch returns NULL.
CREATE FUNCTION pgexthost.look_for_start(request bigint, give_up boolean, OUT done boolean, OUT pid integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r pgexthost.request;
BEGIN
	SELECT * INTO r FROM pgexthost.request q WHERE q.id = look_for_start.request;
	done := true;
	pid := r.pid;
	IF r.id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('there is no request %s', request);
	ELSIF pid IS NOT NULL THEN
		RETURN;
	ELSIF r.state IN ('failed', 'cancelled', 'ended') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_resources', MESSAGE = 'could not start background process',
			DETAIL = CASE WHEN r.message IS NULL THEN format('Request %s is %s.', r.id, r.state)
			              ELSE format('Request %s has failed: %s', r.id, r.message) END,
			HINT = 'More details may be available in the log of the host.';
	ELSIF give_up AND r.state = 'pending' AND (r.sqlstate = '53400' OR EXISTS ( -- the launcher looks at the oldest thousand
		SELECT FROM pgexthost.request q WHERE q.state = 'pending' AND q.sqlstate = '53400' AND q.id < r.id OFFSET 999)) THEN
		UPDATE pgexthost.request q SET state = 'cancelled', ended_at = clock_timestamp()
		WHERE q.id = look_for_start.request AND q.state = 'pending';
		done := FOUND;
	ELSE
		done := false;
	END IF;
END $$;

-- wait_for_startup waits until the worker of a request has been started, and
-- returns its pid, even if it has ended since.
CREATE FUNCTION pgexthost.wait_for_startup(request bigint) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	looked record;
BEGIN
	PERFORM pgexthost.check_wait(request);
	LOOP
		SELECT * INTO looked FROM pgexthost.look_for_start(request, false);
		EXIT WHEN looked.done;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN looked.pid;
END $$;

-- wait_for_shutdown waits until a request's worker is gone for good, and returns
-- the state in which it is then.
CREATE FUNCTION pgexthost.wait_for_shutdown(request bigint) RETURNS text
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	reached text;
BEGIN
	PERFORM pgexthost.check_wait(request);
	IF EXISTS (SELECT FROM pgexthost.request r
		WHERE r.id = request AND r.state = 'started' AND r.terminated_in = pg_current_xact_id_if_assigned()) THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot wait for request %s in the transaction that has terminated it', request),
			DETAIL = 'The worker is terminated when the transaction has been committed.',
			HINT = 'Commit first.';
	END IF;
	LOOP
		SELECT r.state INTO reached FROM pgexthost.request r WHERE r.id = request;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('there is no request %s', request);
		END IF;
		EXIT WHEN reached NOT IN ('pending', 'started');
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN reached;
END $$;

-- commit_and_wait commits and waits until the worker of a request has been
-- started. The pid is NULL if the host has no free slot for a request that this
-- transaction has made: then that is cancelled. As it commits, it has the rights
-- and the search_path of its caller.
CREATE PROCEDURE pgexthost.commit_and_wait(request bigint, INOUT pid integer DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	mine boolean := pgexthost.made_here(request);
	looked record;
BEGIN
	COMMIT;
	LOOP
		SELECT l.done, l.pid INTO looked FROM pgexthost.look_for_start(request, mine) l;
		EXIT WHEN looked.done;
		PERFORM pg_catalog.pg_sleep(0.02);
		COMMIT;
	END LOOP;
	pid := looked.pid;
END $$;

-- launch_and_wait is launch and commit_and_wait.
CREATE PROCEDURE pgexthost.launch_and_wait(
	library text, function text, name text DEFAULT NULL, type text DEFAULT NULL, main_arg bigint DEFAULT 0, extra bytea DEFAULT '',
	restart_time integer DEFAULT -1, start_time text DEFAULT 'running', dedup_key text DEFAULT NULL, INOUT pid integer DEFAULT NULL
) LANGUAGE plpgsql AS $$
BEGIN
	CALL pgexthost.commit_and_wait(
		pgexthost.launch(library, function, name, type, main_arg, extra, restart_time, start_time, dedup_key), pid);
END $$;

-- A declared worker obeys the rules of a launched one, and a changed row is
-- another revision.
CREATE FUNCTION pgexthost.worker_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pgexthost.check_worker(NEW.library, NEW.function, NEW.name, coalesce(nullif(NEW.type, ''), NEW.name), NEW.extra, NEW.restart_time, NEW.start_time);
	NEW.declared_by := pgexthost.caller();
	NEW.revision := nextval('pgexthost.worker_revision');
	RETURN NEW;
END $$;
CREATE TRIGGER worker_changes BEFORE INSERT OR UPDATE ON pgexthost.worker
	FOR EACH ROW EXECUTE FUNCTION pgexthost.worker_changes();

CREATE FUNCTION pgexthost.worker_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pg_notify('pgexthost', '');
	RETURN NULL;
END $$;
CREATE TRIGGER worker_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgexthost.worker
	FOR EACH STATEMENT EXECUTE FUNCTION pgexthost.worker_changed();

-- forget_host settles the requests of a host that will never come back: nobody
-- else may know that it does not run them. Those that are to be restarted start
-- on another host, and all others have failed.
CREATE FUNCTION pgexthost.forget_host(host uuid) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	settled bigint;
BEGIN
	IF EXISTS (SELECT FROM pgexthost.hosts h WHERE h.host = forget_host.host AND h.up) THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = format('host %s is running', forget_host.host);
	END IF;
	UPDATE pgexthost.request r
	SET state = CASE WHEN again THEN 'pending' ELSE 'failed' END, host = NULL, incarnation = NULL, database = NULL, handle = NULL,
	    ended_at = CASE WHEN NOT again THEN clock_timestamp() END,
	    sqlstate = CASE WHEN NOT again THEN '57P02' END, message = CASE WHEN NOT again THEN 'the host was given up' END
	FROM (SELECT l.id, l.restart_time >= 0 AND l.terminate_at IS NULL AS again FROM pgexthost.request l
	      WHERE l.state = 'started' AND l.host = forget_host.host FOR UPDATE) lost
	WHERE r.id = lost.id;
	GET DIAGNOSTICS settled = ROW_COUNT;
	PERFORM pg_notify('pgexthost', '');
	RETURN settled;
END $$;

-- hosts shows who serves this database, or did so last; and whose requests it
-- still has.
CREATE VIEW pgexthost.hosts AS
SELECT h.host, o.host IS NOT NULL AND EXISTS (
		SELECT FROM pg_locks l
		WHERE l.locktype = 'advisory' AND l.classid = 1885824376 AND l.objid = 1 AND l.objsubid = 2 AND l.granted
		  AND l.pid = o.session_pid AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
	) AS up,
	o.postmaster_pid, o.since,
	(SELECT count(*) FROM pgexthost.request r WHERE r.state = 'started' AND r.host = h.host) AS started
FROM (SELECT host FROM pgexthost.owner WHERE host IS NOT NULL
      UNION SELECT host FROM pgexthost.request WHERE state = 'started') h
LEFT JOIN pgexthost.owner o ON o.host = h.host;

-- slots shows every slot of the host that is in use, other databases' included.
CREATE VIEW pgexthost.slots AS
SELECT p.host, s.slot, s.generation, s.handle, s.request, s.pid, s.name, s.type, s.library, s.function, s.state, s.database,
	s.wait_event, s.started_at, s.restarts, s.last_exit_at, s.last_exit_code, s.last_sqlstate, s.last_error, s.next_start, p.at AS published_at
FROM pgexthost.published p
JOIN pgexthost.hosts h ON h.host = p.host AND h.up,
jsonb_to_recordset(p.slots) AS s(slot integer, generation bigint, handle text, request bigint, pid integer, name text, type text,
	library text, function text, state text, database text, wait_event text, started_at timestamptz, restarts integer,
	last_exit_at timestamptz, last_exit_code integer, last_sqlstate text, last_error text, next_start timestamptz);

-- requests shows what was asked for, and what became of it.
CREATE VIEW pgexthost.requests AS
SELECT id, state, library, function, name, type, main_arg, extra, restart_time, start_time, dedup_key, declared,
	requested_by, requested_at, terminate_by, terminate_at, host, handle, pid, started_at, ended_at, exit_code, sqlstate, message
FROM pgexthost.request;

-- workers shows every worker of the host, and those that are asked for and have
-- no slot so far.
CREATE VIEW pgexthost.workers AS
SELECT s.name, s.type, s.library, s.function, s.state, nullif(s.pid, 0) AS pid, s.request, r.declared, s.slot, s.database, s.wait_event,
	s.started_at, s.restarts, s.last_sqlstate, s.last_error, s.next_start
FROM pgexthost.slots s
LEFT JOIN pgexthost.request r ON r.id = s.request
UNION ALL
SELECT r.name, r.type, r.library, r.function, r.state, CASE r.state WHEN 'started' THEN r.pid END, r.id, r.declared, NULL, NULL, NULL,
	r.started_at, NULL, r.sqlstate, r.message, NULL
FROM pgexthost.request r
WHERE r.state IN ('pending', 'started') AND NOT EXISTS (SELECT FROM pgexthost.slots s WHERE s.request = r.id);

-- stat_activity is pg_stat_activity with workers as they show inside a server:
-- with their type as backend_type, and those without a session as well. Where
-- several workers of a name are connected to one database, nobody knows which
-- session is whose, and there is no worker_pid.
CREATE VIEW pgexthost.stat_activity AS
SELECT a.datid, coalesce(a.datname, s.database::name) AS datname, a.pid, a.leader_pid, a.usesysid, a.usename,
	coalesce(a.application_name, s.application_name) AS application_name, a.client_addr, a.client_hostname, a.client_port,
	a.backend_start, a.xact_start, a.query_start, a.state_change, a.wait_event_type, a.wait_event, a.state, a.backend_xid, a.backend_xmin,
	a.query_id, a.query, coalesce(s.type, a.backend_type) AS backend_type,
	s.pid AS worker_pid, s.name AS worker_name, s.wait_event AS worker_wait_event, s.request
FROM pg_stat_activity a
FULL JOIN (
	SELECT left(w.name, 63) AS application_name, w.database, min(w.name) AS name, min(w.type) AS type,
		CASE count(*) WHEN 1 THEN min(w.pid) END AS pid, CASE count(*) WHEN 1 THEN min(w.wait_event) END AS wait_event,
		CASE count(*) WHEN 1 THEN min(w.request) END AS request
	FROM pgexthost.slots w WHERE w.pid > 0
	GROUP BY 1, 2
) s ON s.application_name = a.application_name AND s.database = a.datname;

-- ---------------------------------------------------------------------------
-- Calls: functions that return what the host answers, through its gateway. The
-- protocol is described in the Go package sql/call. Its parts rely on the search_path
-- of call, which alone uses them: to set it for each would cost as much as they do.

-- secret is what a call and its answer are proved with. Row security keeps it from
-- members of pg_read_all_data, too; the owner is not subject to it.
CREATE TABLE pgexthost.secret (
	singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	secret    bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) CHECK (length(secret) = 32)
);
ALTER TABLE pgexthost.secret ENABLE ROW LEVEL SECURITY;
INSERT INTO pgexthost.secret DEFAULT VALUES;

-- gateway returns the number that the gateway has given this session; NULL in a
-- session that goes through none.
CREATE FUNCTION pgexthost.gateway() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN substring(current_setting('pgexthost.gateway', true) FROM '^[0-9a-f]{32}$');

-- mac proves that whoever made it knows the secret.
CREATE FUNCTION pgexthost.mac(secret bytea, message bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE RETURN sha256(secret || sha256(secret || message));

-- unseal opens a piece of an answer: eight bytes of mac, then status, "+" if more
-- pieces follow, the text's length and the text, enciphered with a stream that
-- depends on the mac. NULL if it is not what the gateway says to this call.
CREATE FUNCTION pgexthost.unseal(secret bytea, call bytea, place integer, attempt integer, sealed bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	tag bytea := substr(sealed, 1, 8);
	stream bytea;
	said bytea;
BEGIN
	IF length(sealed) < 12 THEN
		RETURN NULL;
	END IF;
	SELECT string_agg(pgexthost.mac(secret, 'S' || tag || int4send(block)), '' ORDER BY block) INTO stream
	FROM generate_series(0, (length(sealed) - 9) / 32) block;
	said := substr(varbit_send(('x' || encode(substr(sealed, 9), 'hex'))::varbit # ('x' || encode(substr(stream, 1, length(sealed) - 8), 'hex'))::varbit), 5);
	said := substr(said, 1, 4 + least(get_byte(said, 2) * 256 + get_byte(said, 3), length(said) - 4));
	IF substr(pgexthost.mac(secret, 'A' || call || int4send(place) || int4send(attempt) || said), 1, 8) = tag THEN
		RETURN said;
	END IF;
	RETURN NULL;
END $$;

-- fail raises the error that the host has answered with.
CREATE FUNCTION pgexthost.fail(nonce text, error jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	mark text := 'pgexthost:' || nonce;
	state text := error->>'sqlstate';
	says text := error->>'message';
BEGIN
	IF error ? 'detail' AND error ? 'hint' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = says, DETAIL = error->>'detail', HINT = error->>'hint', CONSTRAINT = mark;
	ELSIF error ? 'detail' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = says, DETAIL = error->>'detail', CONSTRAINT = mark;
	ELSIF error ? 'hint' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = says, HINT = error->>'hint', CONSTRAINT = mark;
	END IF;
	RAISE EXCEPTION USING ERRCODE = state, MESSAGE = says, CONSTRAINT = mark;
END $$;

-- ask tells the gateway something about a call. A message of this level is sent at
-- once, whatever client_min_messages is; the gateway keeps it from the client.
CREATE FUNCTION pgexthost.ask(secret bytea, call bytea, verb text, argument text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	what bytea := convert_to(verb, 'UTF8');
	bytes bytea := convert_to(argument, 'UTF8');
BEGIN
	-- ASCII, so that the client's encoding is no matter.
	RAISE INFO USING ERRCODE = 'PX001', MESSAGE = verb, DETAIL = translate(encode(bytes, 'base64'), E'\n', ''),
		HINT = encode(substr(call, 21), 'hex') || ' ' || encode(pgexthost.mac(secret, 'R' || call || int4send(length(what)) || what || bytes), 'hex');
END $$;

-- call has the host do something and returns its answer, or raises its error. It
-- writes nothing, so that it works on a standby, and in any transaction. Only
-- functions with the owner's rights can call it, and they decide who may do what.
--
-- The answer comes in advisory locks of the gateway's: of one it holds a lock for
-- every four bytes, and before and after it this session's state lock, of which
-- it takes another one whenever it has said something. So nothing that is said
-- after a look is missed by whoever waits for the state lock that he has seen.
CREATE FUNCTION pgexthost.call(verb text, argument text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
	state_locks CONSTANT bigint := 1885819648; -- 'pgS' and a number from 0 to 7
	patience CONSTANT interval := '10s';
	nonce text := pgexthost.gateway();
	me bigint := pg_backend_pid();
	here oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	key bytea := (SELECT s.secret FROM pgexthost.secret s);
	id bytea;
	answer bytea := '';
	said bytea;
	status text;
	state bigint;
	alive timestamptz := clock_timestamp(); -- when there was last reason to wait
	pause double precision := 0.0005;
	l record;
BEGIN
	IF nonce IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_resources', MESSAGE = 'cannot start background processes without postmaster',
			DETAIL = 'This session does not go through the gateway of the extension host.', HINT = 'Connect to the gateway''s port.';
	ELSIF me >= 4194304 THEN
		RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = format('process ID %s of the session is too large', me);
	ELSIF key IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the secret of schema pgexthost is missing',
			HINT = 'Run "pgexthost extension upgrade pgexthost".';
	END IF;
	id := decode(nonce, 'hex') || int4send(me::integer) || substr(uuid_send(gen_random_uuid()), 9);
	PERFORM pgexthost.ask(key, id, verb, coalesce(argument, ''));
	LOOP
		state := NULL;
		said := NULL;
		FOR l IN
			SELECT k.objsubid, k.pid, k.classid::bigint >> 8 & 3 AS attempt, max(k.classid::bigint) AS class, string_agg(oidsend(k.objid), '' ORDER BY k.classid) AS bytes
			FROM pg_locks k
			WHERE k.locktype = 'advisory' AND k.database = here AND k.granted
			  AND (k.objsubid = 2 AND k.objid = me AND k.classid::bigint >> 3 = state_locks >> 3 OR k.objsubid = 1 AND k.classid::bigint >> 10 = me)
			GROUP BY 1, 2, 3
		LOOP
			IF l.objsubid = 2 THEN
				state := l.class;
			ELSE
				said := coalesce(said, pgexthost.unseal(key, id, length(answer), l.attempt::integer, l.bytes));
			END IF;
		END LOOP;
		IF said IS NOT NULL THEN
			alive := clock_timestamp();
			status := convert_from(substr(said, 1, 1), 'UTF8');
			IF status <> 'w' THEN
				answer := answer || substr(said, 5);
				EXIT WHEN get_byte(said, 1) <> ascii('+');
				PERFORM pgexthost.ask(key, id, 'more', length(answer)::text);
				CONTINUE;
			END IF;
		ELSIF clock_timestamp() > alive + patience THEN
			RAISE EXCEPTION USING ERRCODE = 'system_error', MESSAGE = CASE WHEN status IS NULL THEN 'gateway did not take the call' ELSE 'gateway has lost the call' END,
				DETAIL = format('There was no answer to "%s" for ten seconds.', verb), HINT = 'The log of the extension host may say why.',
				CONSTRAINT = 'pgexthost:' || nonce;
		END IF;
		IF state IS NULL THEN
			PERFORM pg_sleep(pause);
			pause := least(pause * 1.5, 0.02);
		ELSE
			BEGIN
				PERFORM pg_advisory_xact_lock_shared(state::integer, me::integer);
				RAISE EXCEPTION USING ERRCODE = 'PX003'; -- gives the lock back
			EXCEPTION
				WHEN SQLSTATE 'PX003' OR lock_not_available THEN NULL;
				WHEN out_of_memory THEN PERFORM pg_sleep(0.01); -- of locks: the answer may have taken the last ones, and comes in smaller pieces
			END;
		END IF;
	END LOOP;
	IF status = 'e' THEN
		PERFORM pgexthost.fail(nonce, convert_from(answer, 'UTF8')::jsonb);
	END IF;
	RETURN CASE status WHEN 'a' THEN convert_from(answer, 'UTF8') END;
END $$;

-- launch_now launches a dynamic worker before the transaction commits, waits until
-- its process has been started, and returns the pid; NULL if the host has no free
-- slot. The worker stays when the transaction is rolled back. The arguments are
-- those of launch.
CREATE FUNCTION pgexthost.launch_now(
	library text, function text, name text DEFAULT NULL, type text DEFAULT NULL, main_arg bigint DEFAULT 0, extra bytea DEFAULT '',
	restart_time integer DEFAULT -1, start_time text DEFAULT 'running', interruptible boolean DEFAULT false
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	worker_name text := coalesce(nullif(name, ''), pgexthost.make_name(library, function));
	worker_type text := coalesce(nullif(type, ''), worker_name);
BEGIN
	PERFORM pgexthost.check_worker(library, function, worker_name, worker_type, coalesce(extra, ''), coalesce(restart_time, -1), coalesce(start_time, 'running'));
	IF pgexthost.gateway() IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_resources', MESSAGE = 'cannot start background processes without postmaster',
			DETAIL = 'This session does not go through the extension host, which learns of a launch when it is committed.',
			HINT = 'Use CALL pgexthost.launch_and_wait(...), or connect to the gateway''s port.';
	END IF;
	RETURN pgexthost.call('register', jsonb_build_object('library', library, 'function', function, 'name', worker_name, 'type', worker_type,
		'main_arg', coalesce(main_arg, 0), 'extra', encode(coalesce(extra, ''), 'hex'), 'restart_time', coalesce(restart_time, -1),
		'start_time', coalesce(start_time, 'running'), 'interruptible', coalesce(interruptible, false))::text)::integer;
END $$;

-- ---------------------------------------------------------------------------
-- What PostgreSQL has for its own workers, under the same names: through the
-- gateway, a client's references to these lead here. In other sessions they are
-- the server's. Everybody may use them, and gets what PostgreSQL would give him.

-- certificate proves to functions with the owner's rights as whom their caller
-- acts, which they cannot see: a view reads with its owner's rights, but
-- current_user is whoever uses it. It is good for the statement.
CREATE VIEW pgexthost.certificate WITH (security_barrier) AS
SELECT sha256(s.secret || sha256(s.secret || 'C' || int4send(pg_backend_pid())
	|| convert_to(extract(epoch FROM statement_timestamp()) || ' ' || current_user, 'UTF8'))) AS proof
FROM pgexthost.secret s;

-- certify refuses who is not the role that he says.
CREATE FUNCTION pgexthost.certify(role name, proof bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pgexthost.mac((SELECT s.secret FROM pgexthost.secret s), 'C' || int4send(pg_backend_pid())
		|| convert_to(extract(epoch FROM statement_timestamp()) || ' ' || role, 'UTF8')) IS DISTINCT FROM proof THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('permission denied to act as role "%s"', role);
	END IF;
END $$;

-- is_superuser says so of a role; and of one that there is not, as what advertises
-- no role may be as important.
CREATE FUNCTION pgexthost.is_superuser(role oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT r.rolsuper FROM pg_roles r WHERE r.oid = role), true);

-- known_sessions returns the sessions of workers, as far as a role may know about
-- them: pid and role of all, and what the workers do of those whose role's
-- privileges it has.
CREATE FUNCTION pgexthost.known_sessions(asker name, proof bytea) RETURNS TABLE (
	session integer, pid integer, role oid, type text, wait_event_type text, wait_event text, state text, query text
) LANGUAGE plpgsql SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	workers jsonb;
BEGIN
	PERFORM pgexthost.certify(asker, proof);
	BEGIN
		workers := pgexthost.call('activity', '')::jsonb;
	EXCEPTION WHEN system_error THEN
		RAISE WARNING 'could not find out about background workers' USING DETAIL = SQLERRM;
		RETURN;
	END;
	RETURN QUERY
	SELECT w.session, w.pid, k.role, k.type, k.wait_event_type, k.wait_event, k.state, k.query
	FROM (SELECT DISTINCT ON (r.session) r.*, coalesce(nullif(r.role, 0), a.usesysid) AS owner
	      FROM jsonb_to_recordset(workers) AS r (session integer, pid integer, role oid, type text, wait_event_type text, wait_event text, state text, query text)
	      JOIN pg_stat_activity a ON a.pid = r.session ORDER BY r.session) w
	LEFT JOIN LATERAL (SELECT w.owner AS role, w.type, w.wait_event_type, w.wait_event, w.state, w.query
	      WHERE pg_has_role(asker, 'pg_read_all_stats', 'USAGE') OR pg_has_role(asker, w.owner, 'USAGE')) k ON true;
END $$;

-- sessions is known_sessions for whoever asks; empty without a gateway.
CREATE FUNCTION pgexthost.sessions() RETURNS TABLE (
	session integer, pid integer, role oid, type text, wait_event_type text, wait_event text, state text, query text
) LANGUAGE plpgsql ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- The view reads the server's with its owner's rights.
	IF NOT has_table_privilege('pg_catalog.pg_stat_activity', 'SELECT') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'permission denied for view pg_stat_activity';
	ELSIF pgexthost.gateway() IS NOT NULL THEN
		RETURN QUERY SELECT * FROM pgexthost.known_sessions(current_user, (SELECT c.proof FROM pgexthost.certificate c));
	END IF;
END $$;

-- known_wait_events returns those of the host and its libraries.
CREATE FUNCTION pgexthost.known_wait_events() RETURNS TABLE (type text, name text, description text)
LANGUAGE plpgsql SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pgexthost.gateway() IS NOT NULL THEN
		RETURN QUERY SELECT e.type, e.name, e.description
		FROM jsonb_to_recordset(pgexthost.call('wait_events', '')::jsonb) AS e (type text, name text, description text);
	END IF;
END $$;

-- make_views makes the views whose columns are those that the server has, unless
-- they have these already.
CREATE FUNCTION pgexthost.make_views() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	columns text;
	theirs text := CASE WHEN to_regclass('pg_catalog.pg_wait_events') IS NULL THEN '' ELSE
		'SELECT e.type, e.name, e.description FROM pg_catalog.pg_wait_events e UNION ' END;
BEGIN
	IF to_regclass('pgexthost.pg_stat_activity') IS NOT NULL THEN
		IF NOT EXISTS (
			(SELECT attname, atttypid, attnum FROM pg_attribute WHERE attrelid = 'pg_catalog.pg_stat_activity'::regclass AND attnum > 0
			 EXCEPT SELECT attname, atttypid, attnum FROM pg_attribute WHERE attrelid = 'pgexthost.pg_stat_activity'::regclass)
		) THEN
			RETURN;
		END IF;
		DROP VIEW pgexthost.pg_stat_activity, pgexthost.pg_wait_events;
	END IF;
	SELECT string_agg(coalesce(CASE a.attname
		WHEN 'pid' THEN 'coalesce(w.pid, a.pid)'
		WHEN 'usesysid' THEN 'coalesce(w.role, a.usesysid)'
		WHEN 'usename' THEN 'coalesce(r.rolname, a.usename)'
		WHEN 'backend_type' THEN 'coalesce(w.type, a.backend_type)'
		-- What waits for its client is the worker.
		WHEN 'wait_event_type' THEN 'CASE WHEN w.type IS NULL OR a.wait_event_type <> ''Client'' THEN a.wait_event_type ELSE w.wait_event_type END'
		WHEN 'wait_event' THEN 'CASE WHEN w.type IS NULL OR a.wait_event_type <> ''Client'' THEN a.wait_event ELSE w.wait_event END'
		-- The server hides them from who is not allowed to see those of the login.
		WHEN 'state' THEN 'coalesce(a.state, w.state)'
		WHEN 'query' THEN 'CASE WHEN w.type IS NOT NULL AND a.backend_type IS NULL THEN w.query ELSE a.query END'
		-- A worker has no client.
		WHEN 'client_addr' THEN 'CASE WHEN w.pid IS NULL THEN a.client_addr END'
		WHEN 'client_hostname' THEN 'CASE WHEN w.pid IS NULL THEN a.client_hostname END'
		WHEN 'client_port' THEN 'CASE WHEN w.pid IS NULL THEN a.client_port END'
		END, 'a.' || quote_ident(a.attname)) || ' AS ' || quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO columns
	FROM pg_attribute a
	WHERE a.attrelid = 'pg_catalog.pg_stat_activity'::regclass AND a.attnum > 0;
	EXECUTE 'CREATE VIEW pgexthost.pg_stat_activity AS SELECT ' || columns
		|| ' FROM pg_catalog.pg_stat_activity a LEFT JOIN pgexthost.sessions() w ON w.session = a.pid LEFT JOIN pg_catalog.pg_roles r ON r.oid = w.role';
	EXECUTE 'CREATE VIEW pgexthost.pg_wait_events AS ' || theirs || 'SELECT e.type, e.name, e.description FROM pgexthost.known_wait_events() e';
END $$;
SELECT pgexthost.make_views();

-- signal_worker has a role terminate a worker, or cancel its statement, as
-- pg_signal_backend of PostgreSQL 18 does. It returns NULL if the pid is no
-- worker's with a session.
CREATE FUNCTION pgexthost.signal_worker(asker name, proof bytea, pid integer, terminate boolean, timeout bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	worker jsonb;
	owner oid;
	said text;
BEGIN
	PERFORM pgexthost.certify(asker, proof);
	IF NOT has_function_privilege(asker, CASE WHEN terminate THEN 'pg_catalog.pg_terminate_backend(integer, bigint)' ELSE 'pg_catalog.pg_cancel_backend(integer)' END, 'EXECUTE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = CASE WHEN terminate THEN 'permission denied for function pg_terminate_backend' ELSE 'permission denied for function pg_cancel_backend' END;
	END IF;
	worker := pgexthost.call('worker', pid::text)::jsonb;
	IF worker IS NULL THEN
		RETURN NULL;
	ELSIF EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = signal_worker.pid) THEN
		RAISE EXCEPTION USING ERRCODE = 'ambiguous_parameter',
			MESSAGE = format('PID %s is that of a background worker and of a server process', pid),
			HINT = format('Use pgexthost.terminate(%L) for the worker, or a session that does not go through the gateway for the server process.', worker->>'name');
	END IF;
	SELECT coalesce(nullif((worker->>'role')::oid, 0), a.usesysid) INTO owner FROM pg_stat_activity a WHERE a.pid = (worker->>'session')::integer;
	IF NOT FOUND THEN
		RAISE WARNING 'PID % is not a PostgreSQL backend process', pid
			USING DETAIL = format('Background worker "%s" has no session with the server.', worker->>'name');
		RETURN false;
	ELSIF pgexthost.is_superuser(owner) AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = asker) THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = CASE WHEN terminate THEN 'permission denied to terminate process' ELSE 'permission denied to cancel query' END,
			DETAIL = format('Only roles with the SUPERUSER attribute may %s of roles with the SUPERUSER attribute.',
				CASE WHEN terminate THEN 'terminate processes' ELSE 'cancel queries' END);
	ELSIF NOT pg_has_role(asker, owner, 'USAGE') AND NOT pg_has_role(asker, 'pg_signal_backend', 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = CASE WHEN terminate THEN 'permission denied to terminate process' ELSE 'permission denied to cancel query' END,
			DETAIL = format('Only roles with privileges of the role whose %s or with privileges of the "pg_signal_backend" role may %s.',
				CASE WHEN terminate THEN 'process is being terminated' ELSE 'query is being canceled' END,
				CASE WHEN terminate THEN 'terminate this process' ELSE 'cancel this query' END);
	END IF;
	said := pgexthost.call('signal', (worker || jsonb_build_object('terminate', terminate, 'timeout', timeout))::text);
	IF said <> '' THEN -- only a warning, so that a query over many goes on
		RAISE WARNING '%', said;
	END IF;
	RETURN said = '';
END $$;

-- pg_terminate_backend is the server's, and terminates workers by their own pids as
-- well. They start again as their registration says.
CREATE FUNCTION pgexthost.pg_terminate_backend(pid integer, timeout bigint DEFAULT 0) RETURNS boolean
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF timeout < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range', MESSAGE = '"timeout" must not be negative';
	ELSIF pgexthost.gateway() IS NULL THEN
		RETURN pg_catalog.pg_terminate_backend(pid, timeout);
	END IF;
	RETURN coalesce(pgexthost.signal_worker(current_user, (SELECT c.proof FROM pgexthost.certificate c), pid, true, timeout),
		pg_catalog.pg_terminate_backend(pid, timeout));
END $$;

-- pg_cancel_backend is the server's, and cancels the statements of workers by their
-- own pids as well.
CREATE FUNCTION pgexthost.pg_cancel_backend(pid integer) RETURNS boolean
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pgexthost.gateway() IS NULL THEN
		RETURN pg_catalog.pg_cancel_backend(pid);
	END IF;
	RETURN coalesce(pgexthost.signal_worker(current_user, (SELECT c.proof FROM pgexthost.certificate c), pid, false, 0),
		pg_catalog.pg_cancel_backend(pid));
END $$;

-- reload_host has a role that may reload the server's configuration reload the
-- host's.
CREATE FUNCTION pgexthost.reload_host(asker name, proof bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	said text;
BEGIN
	PERFORM pgexthost.certify(asker, proof);
	IF NOT has_function_privilege(asker, 'pg_catalog.pg_reload_conf()', 'EXECUTE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'permission denied for function pg_reload_conf';
	END IF;
	said := pgexthost.call('reload', '');
	IF said <> '' THEN
		RAISE WARNING '%', said;
	END IF;
	RETURN said = '';
END $$;

-- pg_reload_conf is the server's, and has the host read its files again as well.
CREATE FUNCTION pgexthost.pg_reload_conf() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	done boolean := pg_catalog.pg_reload_conf(); -- refuses who has not the right
BEGIN
	IF pgexthost.gateway() IS NULL THEN
		RETURN done;
	END IF;
	RETURN pgexthost.reload_host(current_user, (SELECT c.proof FROM pgexthost.certificate c)) AND done;
END $$;

-- alter_host has a superuser change the host's settings.
CREATE FUNCTION pgexthost.alter_host(asker name, proof bytea, name text, value text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pgexthost.certify(asker, proof);
	IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = asker) THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = coalesce('permission denied to set parameter "' || nullif(name, '') || '"', 'permission denied to perform ALTER SYSTEM RESET ALL'),
			CONSTRAINT = concat('pgexthost:', pgexthost.gateway());
	END IF;
	PERFORM pgexthost.call('alter', jsonb_build_object('name', coalesce(name, ''), 'value', value)::text);
END $$;

-- alter_system writes a setting of the host into its file pgexthost.auto.conf, as
-- ALTER SYSTEM does into the server's: NULL for the value resets it, NULL for the
-- name resets all. It takes effect with pg_reload_conf or a restart, and no rollback
-- undoes it. Only superusers may: the server keeps no rights on parameters that it
-- does not know.
CREATE FUNCTION pgexthost.alter_system(name text, value text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pgexthost.alter_host(current_user, (SELECT c.proof FROM pgexthost.certificate c), name, value);
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA pgexthost FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA pgexthost FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA pgexthost FROM PUBLIC;
