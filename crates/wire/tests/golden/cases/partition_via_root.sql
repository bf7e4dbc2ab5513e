-- Rows of partitions arrive as rows of the root; a row that moves is a delete and an insert.
-- options: proto_version=1
-- setup
create table events(id int, kind text, primary key (id, kind)) partition by list (kind);
create table events_a partition of events for values in ('a');
create table events_b partition of events for values in ('b');
create publication p for table events with (publish_via_partition_root = true);
-- record
insert into events values (1, 'a'), (2, 'b');
update events set kind = 'b' where id = 1;
truncate events;
