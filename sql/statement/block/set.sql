-- SET and RESET of a setting that only some roles may change. Mirrors the part of
-- set_config_option about PGC_SUSET.
DECLARE
	allowed boolean;
BEGIN
	IF pg_catalog.current_setting('server_version_num')::integer OPERATOR(pg_catalog.>=) 150000 THEN
		allowed := pg_catalog.has_parameter_privilege(@name@, 'SET');
	ELSE
		allowed := pg_catalog.current_setting('is_superuser')::boolean;
	END IF;
	IF NOT allowed THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = @denied@, CONSTRAINT = @marker@;
	END IF;
	@refusal@
	@warning@
	PERFORM pg_catalog.set_config(@name@, @value@, @local@);
	RAISE INFO USING ERRCODE = 'PX002', MESSAGE = '@tag@', DETAIL = @nonce@;
END
