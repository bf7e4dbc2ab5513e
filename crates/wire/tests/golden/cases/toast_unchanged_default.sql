-- An unchanged TOASTed value is absent, never null (PG-61), under the default identity.
-- options: proto_version=1
-- setup
create table docs(id int primary key, title text, body text);
alter table docs alter body set storage external;
create publication p for table docs;
-- record
insert into docs values (1, 'a', repeat('long ', 700));
update docs set title = 'b';
update docs set body = null;
