-- Several tables emptied by one statement, with cascade and restarted sequences.
-- options: proto_version=1
-- setup
create table parents(id serial primary key);
create table children(id int primary key, parent int references parents);
create table alone(id int primary key);
create publication p for table parents, children, alone;
-- record
insert into parents values (1); insert into children values (1, 1); insert into alone values (1);
truncate parents cascade;
truncate alone, children restart identity;
