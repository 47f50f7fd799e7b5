			-- What the scripts are told, and the search_path for those of plugins.
			marks := ARRAY['@extschema@', '@extowner@'];
			marked := ARRAY[target, current_user];
			script_path := quote_ident(target);
			FOR needed IN SELECT jsonb_array_elements_text(extension -> 'requires') LOOP
				needed_schema := coalesce((SELECT e.schema FROM pgexthost.extension e WHERE e.name = needed),
					(SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = needed));
				IF needed_schema IS NULL THEN
					-- A later version may need others than the one to drop has needed.
					CONTINUE WHEN dropping;
					RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('required extension "%s" is not installed', needed);
				END IF;
				marks := marks || format('@extschema:%s@', needed);
				marked := marked || needed_schema;
				IF needed_schema <> 'pg_catalog' AND needed <> 'pgexthost' THEN
					script_path := script_path || ', ' || quote_ident(needed_schema);
				END IF;
			END LOOP;
			script_path := script_path || ', pg_temp';
