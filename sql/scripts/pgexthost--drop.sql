-- Each object by its name, so that what depends on one and is not ours keeps all
-- of it: the server's error names it.
DROP VIEW pgexthost.pg_stat_activity, pgexthost.pg_wait_events, pgexthost.certificate, pgexthost.stat_activity, pgexthost.workers, pgexthost.requests, pgexthost.slots, pgexthost.hosts;
DROP FUNCTION pgexthost.made_here; -- it depends on a table, by its body
DROP TABLE pgexthost.published, pgexthost.worker, pgexthost.request, pgexthost.owner, pgexthost.extension, pgexthost.secret;
DROP PROCEDURE pgexthost.launch_and_wait, pgexthost.commit_and_wait;
DROP FUNCTION pgexthost.launch, pgexthost.terminate(text), pgexthost.terminate(bigint), pgexthost.wait_for_startup, pgexthost.wait_for_shutdown,
	pgexthost.look_for_start, pgexthost.make_interruptible, pgexthost.check_wait, pgexthost.terminate_requests, pgexthost.forget_host,
	pgexthost.worker_changes, pgexthost.worker_changed, pgexthost.check_worker, pgexthost.check_text,
	pgexthost.make_name, pgexthost.clip, pgexthost.size, pgexthost.caller,
	pgexthost.pg_terminate_backend, pgexthost.pg_cancel_backend, pgexthost.pg_reload_conf, pgexthost.reload_host, pgexthost.signal_worker,
	pgexthost.alter_system, pgexthost.alter_host,
	pgexthost.make_views, pgexthost.known_wait_events, pgexthost.sessions, pgexthost.known_sessions, pgexthost.is_superuser, pgexthost.certify,
	pgexthost.launch_now, pgexthost.call, pgexthost.ask, pgexthost.fail, pgexthost.unseal, pgexthost.mac, pgexthost.gateway;
DROP SCHEMA pgexthost;
