-- The shape of a table changes between and inside transactions; each row comes under its own description (PG-46).
-- options: proto_version=1
-- setup
create table t(id int primary key, a text);
create publication p for table t;
-- record
insert into t values (1, 'one');
begin;
insert into t values (2, 'two');
alter table t add b int default 7;
insert into t values (3, 'three', 3);
alter table t rename a to c;
insert into t values (4, 'four', 4);
alter table t drop b;
insert into t values (5, 'five');
commit;
alter table t replica identity full;
update t set c = 'uno' where id = 1;
alter table t alter id type bigint;
insert into t values (6, 'six');
