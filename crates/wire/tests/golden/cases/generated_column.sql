-- Generated columns are not sent unless the publication says so.
-- options: proto_version=1
-- setup
create table t(id int primary key, a int, twice int generated always as (a * 2) stored);
create publication p for table t;
-- record
insert into t(id, a) values (1, 2);
update t set a = 3;
delete from t;
