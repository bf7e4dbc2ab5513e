-- Names are bytes and no words of a language. An index over them does not change when an operating system or a library
-- brings other collations, after which an index of those misses rows that are there; and where the database's collation
-- is a language's, an append costs a fifth less. Rows stay as they are, and indexes are built anew.
alter table log.activities
  alter column org type text collate "C",
  alter column type type text collate "C",
  alter column entity type text collate "C";
alter table log.checkpoints alter column source type text collate "C";
alter table log.organisations
  alter column type type text collate "C",
  alter column org type text collate "C";
alter table log.schemas alter column type type text collate "C";
alter table log.snapshots alter column type type text collate "C";
alter table antiphon.organisations
  alter column id type text collate "C",
  alter column slug type text collate "C";
alter table antiphon.users alter column id type text collate "C";
alter table antiphon.memberships
  alter column org type text collate "C",
  alter column "user" type text collate "C";
