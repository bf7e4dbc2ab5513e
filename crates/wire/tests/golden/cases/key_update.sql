-- A key that changes brings the old key along (PG-62), under three identities.
-- options: proto_version=1
-- setup
create table by_key(id int primary key, v text);
create table by_index(id int primary key, org text not null, v text);
create unique index by_index_identity on by_index(id, org);
alter table by_index replica identity using index by_index_identity;
create table by_all(id int, v text);
alter table by_all replica identity full;
create publication p for table by_key, by_index, by_all;
-- record
insert into by_key values (1, 'a'); insert into by_index values (1, 'acme', 'a'); insert into by_all values (1, null);
update by_key set id = 2; update by_index set org = 'globex'; update by_all set id = 2;
update by_index set v = 'b';
delete from by_key; delete from by_index; delete from by_all;
