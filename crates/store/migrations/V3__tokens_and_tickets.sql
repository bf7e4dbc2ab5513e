-- What a token is good for; null: everything that its user may do.
alter table antiphon.tokens add column scopes text[];

-- A number that moves in the transaction of every change of people, whoever makes it: servers that remember answers of
-- the directory look at it.
create table antiphon.directory (
  one bool primary key default true check (one),
  version int8 not null
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
insert into antiphon.directory (version) values (1);
create function antiphon.directory_changed() returns trigger language plpgsql as $$
begin
  update antiphon.directory set version = version + 1;
  return null;
end $$;
create trigger directory_changed after insert or update or delete or truncate on antiphon.organisations
  for each statement execute function antiphon.directory_changed();
create trigger directory_changed after insert or update or delete or truncate on antiphon.users
  for each statement execute function antiphon.directory_changed();
create trigger directory_changed after insert or update or delete or truncate on antiphon.memberships
  for each statement execute function antiphon.directory_changed();
-- That a token was used is no change.
create trigger directory_changed
  after insert or update of id, hash, "user", expires_at, revoked_at, scopes or delete or truncate on antiphon.tokens
  for each statement execute function antiphon.directory_changed();

-- Only the hash of a ticket is stored. `token` is the personal access token behind it; without one it was a token of
-- an identity provider, and the other columns say what that one said.
create table antiphon.tickets (
  hash bytea primary key,
  subject text not null,
  token uuid references antiphon.tokens (id) on delete cascade,
  expires_at timestamptz,
  scopes text[],
  memberships jsonb,
  org text,
  open_before timestamptz not null,
  opened_at timestamptz,
  used_at timestamptz not null default now()
);
create index tickets_token on antiphon.tickets (token);
create index tickets_used on antiphon.tickets (used_at);
