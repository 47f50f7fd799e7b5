-- ALTER EXTENSION … UPDATE. Mirrors ExecAlterExtensionStmt.
@declare@
	version_to pg_catalog.text := @version@;
	version_from pg_catalog.text;
@enter@
		this := plan ->> 'name';
		IF this <> ALL (ours) THEN
			IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = this) THEN
				EXECUTE format('ALTER EXTENSION %I UPDATE ', this) || CASE WHEN version_to IS NULL THEN '' ELSE format('TO %L', version_to) END;
				EXIT work;
			ELSIF NOT known THEN
				RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('must be owner of extension %s', this),
					HINT = 'Extensions of the host belong to who owns schema pgexthost.';
			END IF;
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('extension "%s" does not exist', this);
		ELSIF NOT home_mine THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('must be owner of extension %s', this);
		END IF;
		flaw := plan -> 'flaw';
		IF flaw IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = flaw ->> 'code', MESSAGE = flaw ->> 'message', DETAIL = flaw ->> 'detail', HINT = flaw ->> 'hint';
		END IF;
		version_to := coalesce(version_to, plan ->> 'version');
		SELECT e.version, e.schema INTO version_from, target FROM pgexthost.extension e WHERE e.name = this;
		IF version_from = version_to THEN
			-- The roles may be there by now.
			scripts := plan -> 'rights';
		ELSE
			scripts := plan -> 'paths' -> version_from;
			IF scripts IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
					MESSAGE = format('extension "%s" has no update path from version "%s" to version "%s"', this, version_from, version_to);
			END IF;
			scripts := scripts || (plan -> 'rights');
		END IF;
		IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = target) THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
				MESSAGE = format('schema "%s" of extension "%s" does not exist any more', target, this),
				HINT = format('If it has another name now, say so: UPDATE pgexthost.extension SET schema = ''…'' WHERE name = %1$L. If it was dropped: DELETE FROM pgexthost.extension WHERE name = %1$L.', this);
		END IF;
		extension := plan;
@requirements@
@run@
		IF version_from = version_to THEN
			RAISE NOTICE USING MESSAGE = format('version "%s" of extension "%s" is already installed', version_to, this), CONSTRAINT = marker;
		ELSE
			UPDATE pgexthost.extension e SET version = version_to, requires = ARRAY(SELECT jsonb_array_elements_text(plan -> 'requires')) WHERE e.name = this;
		END IF;
@leave@
