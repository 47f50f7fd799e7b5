BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	PERFORM set_config('standard_conforming_strings', 'on', true);
	<<work>>
	BEGIN
		IF current_setting('transaction_read_only')::boolean THEN
			RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = 'cannot execute @tag@ in a read-only transaction';
		END IF;
		PERFORM pg_advisory_xact_lock(@lock@);
		SELECT pg_get_userbyid(n.nspowner), pg_has_role(n.nspowner, 'USAGE'), pg_has_role(n.nspowner, current_user, 'MEMBER') AND NOT EXISTS (
			SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND NOT pg_has_role(c.relowner, current_user, 'MEMBER'))
		INTO home_owner, home_mine, home_trusted FROM pg_namespace n WHERE n.nspname = 'pgexthost';
		home_exists := FOUND;
		-- Views, rules, policies and triggers of another role's would run with the
		-- rights of this one: nothing of theirs is used.
		IF home_exists THEN
			known := false;
			IF home_trusted AND has_schema_privilege('pgexthost', 'USAGE') THEN
				home_made := to_regclass('pgexthost.extension') IS NOT NULL;
				known := NOT home_made;
				IF home_made AND has_table_privilege('pgexthost.extension', 'SELECT') THEN
					known := true;
					ours := ARRAY(SELECT e.name FROM pgexthost.extension e);
				END IF;
			END IF;
		END IF;
