-- ALTER SYSTEM of a setting of the host. Mirrors AlterSystemSetConfigFile; who may is
-- whom schema pgexthost lets, as there need be no superuser.
DECLARE
	client_path CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
	made boolean := false;
	allowed boolean := false;
	trusted boolean;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT pg_has_role(n.nspowner, current_user, 'MEMBER'), has_schema_privilege(n.oid, 'USAGE') INTO trusted, allowed
	FROM pg_namespace n WHERE n.nspname = 'pgexthost';
	IF trusted AND allowed THEN
		made := to_regprocedure('pgexthost.alter_system(text, text)') IS NOT NULL;
		IF made THEN
			allowed := has_function_privilege('pgexthost.alter_system(text, text)', 'EXECUTE');
		END IF;
	END IF;
	IF NOT made AND current_setting('is_superuser')::boolean THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = @absent@, CONSTRAINT = @marker@,
			HINT = 'Use CREATE EXTENSION pgexthost, or another database, where it is and belongs to a superuser.';
	ELSIF NOT made OR NOT allowed THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = @denied@, CONSTRAINT = @marker@;
	END IF;
	@refusal@
	PERFORM pgexthost.alter_system(@name@, @value@);
	RAISE INFO USING ERRCODE = 'PX002', MESSAGE = 'ALTER SYSTEM', DETAIL = @nonce@;
	PERFORM set_config('search_path', client_path, true);
END
