-- A row filter turns updates into inserts and deletes; a column list hides a column.
-- options: proto_version=1
-- setup
create table t(id int primary key, shown bool not null, secret text);
alter table t replica identity full;
create table c(id int primary key, a text, hidden text);
create publication p for table t where (shown), c (id, a);
-- record
insert into t values (1, true, 's'), (2, false, 's');
update t set shown = true where id = 2;
update t set shown = false where id = 1;
update t set secret = 'x';
insert into c values (1, 'a', 'h');
update c set hidden = 'i', a = 'b';
