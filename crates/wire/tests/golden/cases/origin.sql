-- A transaction that came from another server names its origin.
-- options: proto_version=1
-- setup
create table t(id int primary key);
create publication p for table t;
select pg_replication_origin_create('elsewhere');
-- record
insert into t values (1);
select pg_replication_origin_session_setup('elsewhere');
begin;
select pg_replication_origin_xact_setup('0/ABCD', '2024-01-01 00:00:00+00');
insert into t values (2);
commit;
select pg_replication_origin_session_reset();
select pg_replication_origin_drop('elsewhere');
