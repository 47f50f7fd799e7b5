			FOR script IN SELECT jsonb_array_elements(scripts) LOOP
				IF (script -> 'own')::boolean THEN
					PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
					PERFORM set_config('check_function_bodies', 'on', true);
				ELSE
					IF NOT cascades AND client_messages NOT IN ('warning', 'error') THEN
						PERFORM set_config('client_min_messages', 'warning', true);
					END IF;
					PERFORM set_config('check_function_bodies', 'off', true);
					PERFORM set_config('search_path', script_path, true);
				END IF;
				FOR step IN SELECT jsonb_array_elements(script -> 'statements') LOOP
					place := format('extension script file "%s", near line %s', script ->> 'file', step ->> 'line');
					flaw := step -> 'flaw';
					IF flaw IS NOT NULL THEN
						RAISE EXCEPTION USING ERRCODE = flaw ->> 'code', MESSAGE = flaw ->> 'message', DETAIL = flaw ->> 'detail', HINT = flaw ->> 'hint';
					END IF;
					running := step ->> 'text';
					FOR i IN 1 .. cardinality(marks) LOOP
						CONTINUE WHEN strpos(running, marks[i]) = 0;
						IF translate(marked[i], quotes, '') <> marked[i] THEN
							RAISE EXCEPTION USING ERRCODE = 'invalid_text_representation', MESSAGE = format('invalid character in extension %s: must not contain any of "%s"',
								CASE marks[i] WHEN '@extowner@' THEN 'owner' ELSE format('"%s" schema', this) END, quotes);
						END IF;
						running := replace(running, marks[i], quote_ident(marked[i]));
					END LOOP;
					IF cascades AND (step -> 'drop')::boolean THEN
						running := running || E'\nCASCADE';
					END IF;
					EXECUTE running;
				END LOOP;
			END LOOP;
			running := NULL;
			place := NULL;
			PERFORM set_config('client_min_messages', client_messages, true);
			PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
