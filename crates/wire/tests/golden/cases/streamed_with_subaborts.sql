-- A streamed transaction whose parts are rolled back: 993 rows written, 505 committed (PG-38).
-- options: proto_version=4 streaming=parallel messages=true
-- setting: logical_decoding_work_mem=64kB
-- setup
create table t(id int primary key, v text);
create publication p for table t;
-- record
begin;
insert into t select i, 'kept' from generate_series(1, 500) i;
savepoint a;
insert into t select i, 'rolled back' from generate_series(1001, 1486) i;
select pg_logical_emit_message(true, 'antiphon', 'rolled back');
rollback to a;
select pg_logical_emit_message(true, 'antiphon', 'kept');
savepoint b;
insert into t select i, 'kept' from generate_series(501, 503) i;
release b;
insert into t select i, 'kept' from generate_series(504, 505) i;
commit;
insert into t values (3000, 'after');
begin;
insert into t select i, 'gone' from generate_series(4001, 4600) i;
rollback;
insert into t values (3001, 'after');
