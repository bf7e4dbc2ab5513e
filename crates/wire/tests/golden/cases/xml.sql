-- XML passes through as text; servers built without libxml cannot make it.
-- options: proto_version=1
-- versions: 15
-- setup
create table t(id int primary key, x xml, xs xml[]);
create publication p for table t;
-- record
insert into t values (1, '<a b="c">d &amp; e</a>', array['<a/>'::xml, null]);
