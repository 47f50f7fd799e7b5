-- What all commands of extensions need. It is compiled with the client's
-- search_path, and so are the values here: every name has its schema.
DECLARE
	plan pg_catalog.jsonb := @plan@;
	marker CONSTANT pg_catalog.text := @marker@;
	client_path CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
	client_messages CONSTANT pg_catalog.text := pg_catalog.current_setting('client_min_messages');
	client_bodies CONSTANT pg_catalog.text := pg_catalog.current_setting('check_function_bodies');
	client_strings CONSTANT pg_catalog.text := pg_catalog.current_setting('standard_conforming_strings');
	-- Schema pgexthost: whose it is, whether that role has all rights of this one
	-- and this one those of that, and whether we know what it says of extensions.
	home_exists boolean;
	home_owner pg_catalog.text;
	home_mine boolean;
	home_trusted boolean;
	home_made boolean := false;
	known boolean := true;
	ours pg_catalog.text[] := '{}';
	-- The extension at hand, and what its scripts are told.
	this pg_catalog.text;
	extension pg_catalog.jsonb;
	target pg_catalog.text;
	needed pg_catalog.text;
	needed_schema pg_catalog.text;
	marks pg_catalog.text[];
	marked pg_catalog.text[];
	script_path pg_catalog.text;
	quotes CONSTANT pg_catalog.text := pg_catalog.concat('"$''', pg_catalog.chr(92));
	dropping boolean := false;
	cascades boolean := false;
	-- The script that runs, and where it is.
	scripts pg_catalog.jsonb;
	script pg_catalog.jsonb;
	step pg_catalog.jsonb;
	running pg_catalog.text;
	place pg_catalog.text;
	flaw pg_catalog.jsonb;
	-- What has gone wrong.
	failure_code pg_catalog.text;
	failure_message pg_catalog.text;
	failure_detail pg_catalog.text;
	failure_hint pg_catalog.text;
	failure_context pg_catalog.text;
