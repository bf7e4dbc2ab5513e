-- Logical messages inside and outside transactions.
-- options: proto_version=1 messages=true
-- setup
create table t(id int primary key);
create publication p for table t;
-- record
begin;
select pg_logical_emit_message(true, 'antiphon', 'before');
insert into t values (1);
select pg_logical_emit_message(true, 'antiphon', 'after'::bytea || '\x00ff'::bytea);
commit;
select pg_logical_emit_message(false, 'antiphon', 'alone');
begin; select pg_logical_emit_message(true, 'antiphon', 'rolled back'); rollback;
insert into t values (2);
