-- Two schemas: `log` may be rebuilt under a new epoch; `antiphon` is the truth about people and is backed up.
create schema if not exists log;
create schema if not exists antiphon;

-- Read by id within an organisation, or by id alone. Other indexes come when a partition is closed.
create table log.activities (
  id int8 not null,
  org text not null,
  type text not null,
  entity text,
  action int2 not null,
  image text,
  changed text,
  details text,
  schema int4 not null,
  lsn int8 not null,
  seq int8 not null,
  last bool not null,
  xid int8 not null,
  committed_at int8 not null
) partition by range (id);
create index activities_org on log.activities (org, id);
-- The condition is always true. A query that does not say it cannot use the index: without it, the planner would walk
-- all of a partition for an organisation that it takes for busy and that has nothing more there.
create index activities_id on log.activities (id) where action > 0;

-- One-row tables, apart from each other: the appender, the flusher and list readers never wait for one another's lock.
create table log.head (
  one bool primary key default true check (one),
  epoch int4 not null,
  last int8 not null,
  floor int8 not null
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
create table log.durable (
  one bool primary key default true check (one),
  epoch int4 not null,
  durable int8 not null
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
create table log.visible (
  one bool primary key default true check (one),
  epoch int4 not null,
  visible int8 not null
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
insert into log.head (epoch, last, floor) values (1, 0, 0);
insert into log.durable (epoch, durable) values (1, 0);
insert into log.visible (epoch, visible) values (1, 0);

create table log.checkpoints (
  source text primary key,
  fence int8 not null,
  holder text not null,
  expires_at timestamptz not null,
  acknowledged int8 not null,
  lsn int8 not null,
  ordinal int8 not null,
  complete bool not null,
  xid int8 not null,
  identity text
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- Which organisations ever had an activity of a type: a truncate concerns all of them.
create table log.organisations (type text not null, org text not null, primary key (type, org));

create table log.schemas (
  type text not null,
  number int4 not null,
  fingerprint text not null,
  created_at timestamptz not null default now(),
  primary key (type, number)
);

create table log.snapshots (
  type text primary key,
  last_key text,
  rows_done int8 not null,
  rows_estimated int8 not null,
  complete bool not null,
  failure text
);

create table antiphon.organisations (
  id text primary key,
  slug text not null unique,
  name text not null,
  created_at timestamptz not null default now()
);
create table antiphon.users (
  id text primary key,
  name text not null,
  avatar_url text,
  system_admin bool not null default false,
  created_at timestamptz not null default now()
);
create table antiphon.memberships (
  org text not null references antiphon.organisations (id) on delete cascade,
  "user" text not null references antiphon.users (id) on delete cascade,
  role text not null check (role in ('viewer', 'member', 'admin', 'owner')),
  created_at timestamptz not null default now(),
  primary key (org, "user")
);
create index memberships_user on antiphon.memberships ("user");
-- Only the hash of a token is stored.
create table antiphon.tokens (
  id uuid primary key,
  hash bytea not null unique,
  prefix text not null,
  "user" text not null references antiphon.users (id) on delete cascade,
  name text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  -- To the minute.
  last_used_at timestamptz
);

-- Begins an append: the fence, then the head. Its errors have states of their own:
-- AP001 another writer has taken over; AP002 a crash took unflushed appends back; AP003 a new epoch began.
create function log.begin_append(
  in_source text, in_fence int8, was_acknowledged int8, was_lsn int8, was_ordinal int8, was_complete bool,
  in_acknowledged int8, in_lsn int8, in_ordinal int8, in_complete bool, in_xid int8, in_identity text,
  in_epoch int4, in_last int8, in_count int8
) returns void language plpgsql as $$
begin
  update log.checkpoints
     set acknowledged = in_acknowledged, lsn = in_lsn, ordinal = in_ordinal, complete = in_complete, xid = in_xid,
         identity = in_identity
   where source = in_source and fence = in_fence and acknowledged = was_acknowledged and lsn = was_lsn
     and ordinal = was_ordinal and complete = was_complete;
  if not found then
    if exists (select from log.checkpoints where source = in_source and fence = in_fence) then
      raise exception 'unflushed appends were taken back' using errcode = 'AP002';
    end if;
    raise exception 'fenced' using errcode = 'AP001';
  end if;
  if in_count > 0 then
    update log.head set last = in_last + in_count where epoch = in_epoch and last = in_last;
    if not found then
      raise exception 'the head of the log is elsewhere' using errcode = 'AP003';
    end if;
  end if;
end $$;
