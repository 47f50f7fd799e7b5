-- LOAD of a library of the host's, which every process of the host loads by itself.
-- Mirrors check_restricted_library_name.
BEGIN
	IF @restricted@ AND NOT pg_catalog.current_setting('is_superuser')::boolean THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = @denied@, CONSTRAINT = @marker@;
	END IF;
	RAISE INFO USING ERRCODE = 'PX002', MESSAGE = 'LOAD', DETAIL = @nonce@;
END
