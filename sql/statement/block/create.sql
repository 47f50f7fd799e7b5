-- CREATE EXTENSION of one that the host has. Mirrors CreateExtension and
-- CreateExtensionInternal.
@declare@
	creation CONSTANT pg_catalog.text := pg_catalog.current_schema();
	asked CONSTANT pg_catalog.text := @schema@;
	host_role CONSTANT pg_catalog.text := @role@;
	requirement pg_catalog.jsonb;
	asker pg_catalog.text;
	wanted pg_catalog.text[] := '{}';
	grows boolean := true;
	hint pg_catalog.text;
@enter@
		this := plan ->> 'name';
		IF this = ANY (ours) OR EXISTS (SELECT FROM pg_extension e WHERE e.extname = this) THEN
			IF (plan -> 'if_not_exists')::boolean THEN
				RAISE NOTICE USING ERRCODE = 'duplicate_object', MESSAGE = format('extension "%s" already exists, skipping', this), CONSTRAINT = marker;
				EXIT work;
			END IF;
			RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('extension "%s" already exists', this);
		END IF;
		flaw := plan -> 'flaw';
		IF flaw IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = flaw ->> 'code', MESSAGE = flaw ->> 'message', DETAIL = flaw ->> 'detail', HINT = flaw ->> 'hint';
		END IF;
		IF asked IS NOT NULL AND this <> 'pgexthost' AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = asked) THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name', MESSAGE = format('schema "%s" does not exist', asked);
		ELSIF asked <> plan ->> 'schema' AND NOT (plan -> 'cascade')::boolean THEN
			RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
				MESSAGE = format('extension "%s" must be installed in schema "%s"', this, plan ->> 'schema');
		ELSIF coalesce(asked, plan ->> 'schema', creation) IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name', MESSAGE = 'no schema has been selected to create in';
		END IF;

		-- What is installed belongs to who owns schema pgexthost: that decides who may
		-- install. Whoever makes it has to have the rights of the host's user, or the
		-- host would not touch it.
		IF NOT home_exists AND NOT has_database_privilege(current_database(), 'CREATE') THEN
			hint := 'Must have CREATE privilege on current database to create this extension.';
		ELSIF NOT home_exists AND host_role IS NOT NULL AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = host_role) THEN
			IF NOT pg_has_role(current_user, host_role, 'MEMBER') THEN
				hint := format('Must have the rights of role "%s", which is the user of the extension host, to create this extension.', host_role);
			END IF;
		ELSIF home_exists AND NOT home_mine THEN
			hint := 'Must be owner of schema pgexthost to create this extension.';
		ELSIF home_exists AND NOT home_trusted THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('permission denied to create extension "%s"', this),
				DETAIL = format('Schema pgexthost, or a relation in it, belongs to a role that could use the rights of "%s" in it.', current_user),
				HINT = format('Install it as role "%s".', home_owner);
		END IF;
		IF hint IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('permission denied to create extension "%s"', this), HINT = hint;
		END IF;

		-- What has to be installed with it. The rounds end, as there are only so many
		-- extensions.
		WHILE grows LOOP
			grows := false;
			FOR requirement IN SELECT jsonb_array_elements(plan -> 'walk') LOOP
				this := requirement ->> 'name';
				asker := requirement ->> 'for';
				CONTINUE WHEN asker IS NOT NULL AND asker <> ALL (wanted);
				CONTINUE WHEN this = ANY (ours) OR EXISTS (SELECT FROM pg_extension e WHERE e.extname = this);
				IF asker IS NOT NULL AND this <> 'pgexthost' AND NOT (plan -> 'cascade')::boolean THEN
					RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('required extension "%s" is not installed', this),
						HINT = 'Use CREATE EXTENSION ... CASCADE to install required extensions too.';
				ELSIF (requirement -> 'cyclic')::boolean THEN
					RAISE EXCEPTION USING ERRCODE = 'invalid_recursion',
						MESSAGE = format('cyclic dependency detected between extensions "%s" and "%s"', this, asker);
				END IF;
				CONTINUE WHEN this = ANY (wanted);
				IF asker IS NOT NULL THEN
					RAISE NOTICE USING MESSAGE = format('installing required extension "%s"', this), CONSTRAINT = marker;
				END IF;
				flaw := requirement -> 'flaw';
				IF flaw IS NOT NULL THEN
					RAISE EXCEPTION USING ERRCODE = flaw ->> 'code', MESSAGE = flaw ->> 'message', DETAIL = flaw ->> 'detail', HINT = flaw ->> 'hint';
				ELSIF this = 'pgexthost' AND home_exists THEN
					RAISE EXCEPTION USING ERRCODE = 'duplicate_schema', MESSAGE = 'schema "pgexthost" already exists',
						DETAIL = 'It is not one that pgexthost has made.', HINT = 'Rename or drop it.';
				END IF;
				wanted := wanted || this;
				grows := true;
			END LOOP;
		END LOOP;

		FOR extension IN SELECT jsonb_array_elements(plan -> 'extensions') LOOP
			this := extension ->> 'name';
			CONTINUE WHEN this <> ALL (wanted);
			scripts := extension -> 'scripts';
			IF scripts IS NULL THEN -- one of the server's own
				running := format('CREATE EXTENSION %I ', this) || CASE WHEN asked IS NULL THEN '' ELSE format('SCHEMA %I ', asked) END || 'CASCADE';
				PERFORM set_config('search_path', client_path, true);
				EXECUTE running;
				PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
				running := NULL;
				CONTINUE;
			END IF;
			target := coalesce(extension ->> 'schema', asked, creation);
			IF target IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name', MESSAGE = 'no schema has been selected to create in';
			ELSIF this <> 'pgexthost' AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = target) THEN
				EXECUTE format('CREATE SCHEMA %I', target);
			END IF;
@requirements@
@run@
			INSERT INTO pgexthost.extension (name, version, schema, requires)
			VALUES (this, extension ->> 'version', target, ARRAY(SELECT jsonb_array_elements_text(extension -> 'requires')));
		END LOOP;
@leave@
