-- DROP EXTENSION, of the host's and of the server's. Mirrors RemoveObjects and
-- reportDependentObjects, with extensions as the objects.
@declare@
	names CONSTANT pg_catalog.text[] := @names@;
	dropped pg_catalog.text[] := '{}';
	theirs pg_catalog.text[] := '{}';
	dependents pg_catalog.text[];
	dependencies pg_catalog.text;
	live bigint;
	declared bigint;
@enter@
		dropping := true;
		cascades := (plan -> 'cascade')::boolean;
		FOREACH this IN ARRAY names LOOP
			IF this = ANY (ours) THEN
				IF NOT home_mine THEN
					RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('must be owner of extension %s', this);
				END IF;
				dropped := array_remove(dropped, this) || this;
			ELSIF EXISTS (SELECT FROM pg_extension e WHERE e.extname = this) THEN
				theirs := theirs || this;
			ELSIF NOT known THEN
				RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('must be owner of extension %s', this),
					HINT = 'Extensions of the host belong to who owns schema pgexthost.';
			ELSIF (plan -> 'if_exists')::boolean THEN
				RAISE NOTICE USING MESSAGE = format('extension "%s" does not exist, skipping', this), CONSTRAINT = marker;
			ELSE
				RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('extension "%s" does not exist', this);
			END IF;
		END LOOP;

		-- Extensions of the host that need one of these, and those that need those.
		IF dropped <> '{}' THEN
			WITH RECURSIVE dependent (name, on_name) AS (
				SELECT e.name, r.name FROM pgexthost.extension e CROSS JOIN unnest(e.requires) r (name)
				WHERE r.name = ANY (dropped) AND e.name <> ALL (dropped)
				UNION
				SELECT e.name, d.name FROM dependent d JOIN pgexthost.extension e ON d.name = ANY (e.requires) WHERE e.name <> ALL (dropped)
			)
			SELECT array_agg(DISTINCT d.name), string_agg(format('extension %s depends on extension %s', d.name, d.on_name), E'\n' ORDER BY d.name, d.on_name)
			INTO dependents, dependencies FROM dependent d;
		END IF;
		IF dependents IS NOT NULL AND NOT cascades THEN
			RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist', DETAIL = dependencies,
				MESSAGE = CASE cardinality(names) WHEN 1 THEN format('cannot drop extension %s because other objects depend on it', names[1])
					ELSE 'cannot drop desired object(s) because other objects depend on them' END,
				HINT = 'Use DROP ... CASCADE to drop the dependent objects too.';
		ELSIF cardinality(dependents) = 1 THEN
			RAISE NOTICE USING MESSAGE = format('drop cascades to extension %s', dependents[1]), CONSTRAINT = marker;
		ELSIF dependents IS NOT NULL THEN
			RAISE NOTICE USING MESSAGE = format('drop cascades to %s other objects', cardinality(dependents)), CONSTRAINT = marker,
				DETAIL = (SELECT string_agg('drop cascades to extension ' || d, E'\n' ORDER BY d) FROM unnest(dependents) d);
		END IF;
		dropped := dropped || dependents;

		WHILE dropped <> '{}' LOOP
			SELECT d INTO STRICT this FROM unnest(dropped) d
			WHERE NOT EXISTS (SELECT FROM pgexthost.extension e WHERE e.name = ANY (dropped) AND e.name <> d AND d = ANY (e.requires)) LIMIT 1;
			dropped := array_remove(dropped, this);
			extension := plan -> 'extensions' -> this;
			flaw := extension -> 'flaw';
			IF extension IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = format('extension "%s" cannot be dropped', this),
					DETAIL = 'The extension host has no script for it.';
			ELSIF flaw IS NOT NULL THEN
				RAISE EXCEPTION USING ERRCODE = flaw ->> 'code', MESSAGE = flaw ->> 'message', DETAIL = flaw ->> 'detail', HINT = flaw ->> 'hint';
			END IF;
			SELECT e.schema INTO target FROM pgexthost.extension e WHERE e.name = this;
			IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = target) THEN
				RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
					MESSAGE = format('schema "%s" of extension "%s" does not exist any more', target, this),
					HINT = format('If it has another name now, say so: UPDATE pgexthost.extension SET schema = ''…'' WHERE name = %1$L. If it was dropped: DELETE FROM pgexthost.extension WHERE name = %1$L.', this);
			END IF;
@requirements@
			IF this = 'pgexthost' THEN
				-- Nobody enters another request before the end of the transaction.
				LOCK TABLE pgexthost.worker, pgexthost.request IN ACCESS EXCLUSIVE MODE;
				SELECT (SELECT count(*) FROM pgexthost.request r WHERE r.state IN ('pending', 'started')), (SELECT count(*) FROM pgexthost.worker)
				INTO live, declared;
				IF live + declared > 0 THEN
					RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = 'cannot drop extension "pgexthost" because workers run',
						DETAIL = format('Requests that are pending or started: %s. Rows of pgexthost.worker: %s.', live, declared),
						HINT = 'Delete these rows, and end the requests with pgexthost.terminate(id).';
				END IF;
			ELSE
				DELETE FROM pgexthost.extension e WHERE e.name = this;
			END IF;
			scripts := extension -> 'scripts';
@run@
		END LOOP;
		IF theirs <> '{}' THEN
			EXECUTE 'DROP EXTENSION ' || (SELECT string_agg(quote_ident(t), ', ') FROM unnest(theirs) t) || CASE WHEN cascades THEN ' CASCADE' ELSE '' END;
		END IF;
@leave@
