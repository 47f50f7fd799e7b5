DROP PROCEDURE @extschema@.worker_spi_launch_and_wait;
DROP FUNCTION @extschema@.worker_spi_launch, @extschema@.worker_spi_extra;
