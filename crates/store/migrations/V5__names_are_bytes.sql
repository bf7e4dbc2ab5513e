-- Names are bytes and no words of a language. An index over them does not change when an operating system or a library
-- brings other collations, after which an index of those misses rows that are there; and where the database's collation
-- is a language's, an append costs a fifth less. Rows stay as they are, and indexes are built anew. The directory is not
-- touched: servers that run meanwhile hold statements that return its names.
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
