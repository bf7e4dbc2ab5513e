-- The three kinds of row change, with the old key only where it is needed.
-- options: proto_version=1
-- setup
create table pages(id int primary key, title text, body text);
create publication p for table pages;
-- record
insert into pages values (1, 'one', null), (2, 'two', 'b');
update pages set title = 'uno' where id = 1;
delete from pages where id = 2;
insert into pages select i, 'many', '' from generate_series(10, 12) i;
update pages set body = 'x "quoted" \ and é' where id >= 11;
