-- How fast a copy went of late, and when that was.
alter table log.snapshots
  add column rows_per_second int8 not null default 0,
  add column updated_at timestamptz not null default now();
