-- Who wrote an activity, and the columns that policies read (protocol 4).
alter table log.activities add column tx text, add column policy text;

-- The key that messages of the mutation service are sealed with: 244 random bits.
create table antiphon.installation (one bool primary key default true check (one), key bytea not null);
insert into antiphon.installation (key)
select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

-- These two stand for rows of nobody and of everyone.
alter table antiphon.organisations add constraint organisations_id_reserved check (id not in ('', '*'));
