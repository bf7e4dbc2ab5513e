-- Under FULL the new row still lacks the unchanged TOASTed value; only the old row has it (PG-61).
-- options: proto_version=1
-- setup
create table docs(id int primary key, title text, body text);
alter table docs alter body set storage external;
alter table docs replica identity full;
create publication p for table docs;
-- record
insert into docs values (1, 'a', repeat('long ', 700));
update docs set title = 'b';
delete from docs;
