	-- Errors of scripts get their place, and lose what tells of this block. Absent
	-- fields are empty, since RAISE takes no NULL.
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS failure_code = RETURNED_SQLSTATE, failure_message = MESSAGE_TEXT,
			failure_detail = PG_EXCEPTION_DETAIL, failure_hint = PG_EXCEPTION_HINT, failure_context = PG_EXCEPTION_CONTEXT;
		failure_context := left(failure_context, greatest(strpos(failure_context, format('SQL statement "%s"', running)) - 2, 0));
		IF place IS NULL THEN
			failure_context := '';
		ELSIF dropping AND failure_code = '2BP01' THEN
			failure_message := format('cannot drop extension %s because other objects depend on it', this);
			place := NULL;
		END IF;
		RAISE EXCEPTION USING ERRCODE = failure_code, MESSAGE = failure_message, DETAIL = coalesce(failure_detail, ''),
			HINT = coalesce(failure_hint, ''), CONSTRAINT = marker, DATATYPE = concat_ws(E'\n', nullif(failure_context, ''), place);
	END work;
	RAISE INFO USING ERRCODE = 'PX002', MESSAGE = '@tag@', DETAIL = @nonce@;
	PERFORM set_config('client_min_messages', client_messages, true);
	PERFORM set_config('check_function_bodies', client_bodies, true);
	PERFORM set_config('standard_conforming_strings', client_strings, true);
	PERFORM set_config('search_path', client_path, true);
END
