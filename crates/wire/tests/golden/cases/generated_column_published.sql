-- From 18 on a publication may send stored generated columns.
-- options: proto_version=1
-- versions: 18
-- setup
create table t(id int primary key, a int, twice int generated always as (a * 2) stored);
create publication p for table t with (publish_generated_columns = stored);
-- record
insert into t(id, a) values (1, 2);
update t set a = 3;
