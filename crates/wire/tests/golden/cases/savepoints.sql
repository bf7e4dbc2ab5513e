-- Rolled-back parts of an ordinary transaction are never sent.
-- options: proto_version=1
-- setup
create table t(id int primary key);
create publication p for table t;
-- record
begin;
insert into t values (1);
savepoint a;
insert into t values (2);
savepoint b;
insert into t values (3);
rollback to a;
insert into t values (4);
savepoint c;
insert into t values (5);
release c;
commit;
begin; insert into t values (6); rollback;
