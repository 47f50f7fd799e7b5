-- Version 1 of the schema "retention". A script that was released never
-- changes: the next version is a script of its own, 2.sql.

CREATE TABLE retention.version (
	version integer NOT NULL,
	since timestamptz NOT NULL DEFAULT now()
);

-- What is wanted: one row for each partitioned table, written by people.
CREATE TABLE retention.policy (
	parent regclass PRIMARY KEY,
	mode text NOT NULL DEFAULT 'on' CHECK (mode IN ('on', 'dry_run', 'off')),

	-- The width of a partition: every for times, every_n for integers.
	every interval,
	every_n bigint CHECK (every_n BETWEEN 1 AND 1000000000000000000),
	CONSTRAINT every_or_every_n CHECK (num_nonnulls(every, every_n) = 1),
	-- Partitions to have beyond the one in use.
	premake integer NOT NULL DEFAULT 4 CHECK (premake BETWEEN 0 AND 1000),

	-- How far behind the present, or the greatest value, a partition must end to
	-- have expired. Without either, nothing ever does.
	keep interval CHECK (keep >= interval '0'),
	keep_n bigint CHECK (keep_n >= 0),
	CONSTRAINT keep_is_like_every CHECK (CASE WHEN every IS NULL THEN keep IS NULL ELSE keep_n IS NULL END),
	on_expiry text NOT NULL DEFAULT 'detach' CHECK (on_expiry IN ('detach', 'move', 'drop')),
	archive_schema name,
	CONSTRAINT move_needs_archive_schema CHECK (on_expiry <> 'move' OR archive_schema IS NOT NULL),

	-- What to do with rows of the DEFAULT partition that belong to a new one.
	on_default text NOT NULL DEFAULT 'refuse' CHECK (on_default IN ('refuse', 'move')),
	move_limit bigint NOT NULL DEFAULT 10000 CHECK (move_limit > 0),

	-- Boundaries are origin + n * every, in this time zone; or origin_n + n * every_n.
	time_zone text NOT NULL DEFAULT 'UTC',
	origin timestamp NOT NULL DEFAULT '2001-01-01' CHECK (isfinite(origin)),
	origin_n bigint NOT NULL DEFAULT 0,

	naming text NOT NULL DEFAULT '{parent}_p{from}' CHECK (naming LIKE '%{from}%'),
	copy_grants boolean NOT NULL DEFAULT false,

	CONSTRAINT time_zone_is_known CHECK (origin AT TIME ZONE time_zone IS NOT NULL),
	CONSTRAINT every_is_a_minute_or_more CHECK (every >= interval '1 minute'),
	CONSTRAINT every_is_months_or_days_and_time CHECK (
		extract(year FROM every) = 0 AND extract(month FROM every) = 0
		OR extract(day FROM every) = 0 AND extract(hour FROM every) = 0
		AND extract(minute FROM every) = 0 AND extract(second FROM every) = 0),
	CONSTRAINT months_need_an_origin_on_day_1_to_28 CHECK (
		extract(year FROM every) = 0 AND extract(month FROM every) = 0
		OR extract(day FROM origin) <= 28),
	-- An hour of local time may be missing, or come twice.
	CONSTRAINT parts_of_a_day_need_utc CHECK (
		time_zone = 'UTC'
		OR extract(hour FROM every) = 0 AND extract(minute FROM every) = 0
		AND extract(second FROM every) = 0)
);

-- How it went, last time: the worker's, one row for each policy.
CREATE TABLE retention.status (
	parent regclass PRIMARY KEY REFERENCES retention.policy ON DELETE CASCADE,
	last_round timestamptz NOT NULL,
	last_success timestamptz,
	sqlstate text,
	problem text,
	detail text,
	hint text,
	problem_since timestamptz,
	rows_in_default boolean NOT NULL DEFAULT false,
	planned text[] NOT NULL DEFAULT '{}'
);

-- The journal: partitions whose retirement has begun and is not complete. It
-- refers to no policy, because a policy may be deleted at any time.
CREATE TABLE retention.retiring (
	partition oid PRIMARY KEY,
	parent oid NOT NULL,
	schema_name name NOT NULL,
	table_name name NOT NULL,
	upper_bound bigint NOT NULL,
	begun timestamptz NOT NULL DEFAULT now()
);

-- What was done. Names, because what they stood for may be gone.
CREATE TABLE retention.log (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	parent text NOT NULL,
	partition text,
	action text NOT NULL,
	detail text
);
CREATE INDEX ON retention.log (at);

CREATE VIEW retention.partitions AS
SELECT p.parent, c.oid::regclass AS partition,
	pg_get_expr(c.relpartbound, c.oid) AS bounds,
	CASE WHEN i.inhdetachpending THEN 'detach pending'
		WHEN r.partition IS NOT NULL THEN 'retiring'
		ELSE 'attached' END AS state
FROM retention.policy p
JOIN pg_inherits i ON i.inhparent = p.parent
JOIN pg_class c ON c.oid = i.inhrelid
LEFT JOIN retention.retiring r ON r.partition = c.oid
UNION ALL
SELECT r.parent::regclass, r.partition::regclass, NULL, 'detached, retiring'
FROM retention.retiring r
WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = r.partition);

CREATE VIEW retention.health AS
SELECT p.parent, p.mode, s.last_round, s.last_success, s.problem, s.detail, s.hint, s.problem_since,
	s.rows_in_default, s.planned
FROM retention.policy p LEFT JOIN retention.status s USING (parent);
