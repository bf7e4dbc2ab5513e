-- Nested parts, exception blocks and a change of shape inside a streamed transaction.
-- options: proto_version=4 streaming=parallel messages=true
-- setting: logical_decoding_work_mem=64kB
-- setup
create table t(id int primary key, v text);
create table u(id int primary key, w text);
create publication p for table t, u;
-- record
begin;
insert into t select i, 'kept' from generate_series(1, 400) i;
savepoint a;
insert into u select i, 'gone' from generate_series(1, 300) i;
savepoint b;
insert into t select i, 'gone' from generate_series(1001, 1300) i;
release b;
rollback to a;
insert into u select i, 'kept' from generate_series(1, 300) i;
alter table t add x int default 1;
insert into t select i, 'kept', 2 from generate_series(2001, 2300) i;
do $$ begin
  for i in 1..20 loop
    begin
      insert into u values (5000 + i, 'in a block');
      if i % 2 = 0 then raise exception 'odd'; end if;
    exception when others then null;
    end;
  end loop;
end $$;
commit;
insert into t values (9000, 'after', 3);
insert into u values (9000, 'after');
