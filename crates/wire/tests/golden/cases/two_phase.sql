-- Prepared transactions, as they look where two-phase decoding is asked for; the assembler refuses them.
-- options: proto_version=3 two_phase=on
-- setting: max_prepared_transactions=10
-- slot: two_phase
-- setup
create table t(id int primary key);
create publication p for table t;
-- record
begin; insert into t values (1); prepare transaction 'kept';
commit prepared 'kept';
begin; insert into t values (2); prepare transaction 'dropped';
rollback prepared 'dropped';
