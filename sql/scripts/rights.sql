-- Who may do what in schema pgexthost. Run at the end of each installation and
-- upgrade, and again by "pgexthost extension upgrade pgexthost", for instance once
-- an administrator has made the roles.
DO $$
DECLARE
	missing text;
BEGIN
	FOREACH missing IN ARRAY ARRAY['pgexthost_operator', 'pgexthost_reader'] LOOP
		CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = missing);
		BEGIN
			EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
		EXCEPTION
			WHEN insufficient_privilege THEN NULL; -- the command says so
			WHEN duplicate_object OR unique_violation THEN NULL; -- another database's installation was faster
		END;
	END LOOP;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgexthost_reader') THEN
		GRANT USAGE ON SCHEMA pgexthost TO pgexthost_reader;
		GRANT SELECT ON pgexthost.extension, pgexthost.hosts, pgexthost.slots, pgexthost.requests, pgexthost.workers,
			pgexthost.stat_activity, pgexthost.worker TO pgexthost_reader;
	END IF;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgexthost_operator') THEN
		GRANT USAGE ON SCHEMA pgexthost TO pgexthost_operator;
		GRANT SELECT ON pgexthost.extension, pgexthost.hosts, pgexthost.slots, pgexthost.requests, pgexthost.workers,
			pgexthost.stat_activity TO pgexthost_operator;
		GRANT SELECT, INSERT, UPDATE, DELETE ON pgexthost.worker TO pgexthost_operator;
		GRANT EXECUTE ON FUNCTION pgexthost.launch(text, text, text, text, bigint, bytea, integer, text, text), pgexthost.terminate(text),
			pgexthost.terminate(bigint), pgexthost.wait_for_startup(bigint), pgexthost.wait_for_shutdown(bigint), pgexthost.made_here(bigint),
			pgexthost.look_for_start(bigint, boolean), pgexthost.make_interruptible(bigint), pgexthost.forget_host(uuid), pgexthost.gateway(),
			pgexthost.launch_now(text, text, text, text, bigint, bytea, integer, text, boolean) TO pgexthost_operator;
		GRANT EXECUTE ON PROCEDURE pgexthost.commit_and_wait(bigint, integer),
			pgexthost.launch_and_wait(text, text, text, text, bigint, bytea, integer, text, text, integer) TO pgexthost_operator;
	END IF;
	-- What a client's references to the server's own lead to, through the gateway.
	-- What these functions use checks as whom its caller acts.
	PERFORM pgexthost.make_views();
	GRANT USAGE ON SCHEMA pgexthost TO PUBLIC;
	GRANT SELECT ON pgexthost.pg_stat_activity, pgexthost.pg_wait_events, pgexthost.certificate TO PUBLIC;
	GRANT EXECUTE ON FUNCTION pgexthost.pg_terminate_backend(integer, bigint), pgexthost.pg_cancel_backend(integer), pgexthost.pg_reload_conf(),
		pgexthost.gateway(), pgexthost.sessions(), pgexthost.known_sessions(name, bytea), pgexthost.known_wait_events(),
		pgexthost.signal_worker(name, bytea, integer, boolean, bigint), pgexthost.reload_host(name, bytea),
		pgexthost.alter_system(text, text), pgexthost.alter_host(name, bytea, text, text) TO PUBLIC;
	-- A dump by a role that may not see the secret has none.
	INSERT INTO pgexthost.secret SELECT WHERE NOT EXISTS (SELECT FROM pgexthost.secret);
END $$;
