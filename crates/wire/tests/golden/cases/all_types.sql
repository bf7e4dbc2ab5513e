-- Every row of the table of values, with nulls, infinities, BC, bounds and nesting.
-- options: proto_version=1
-- setup
create type mood as enum ('sad', 'so so', 'happy');
create type point3 as (x int4, y float8, "the label" text);
create type nest as (p point3, ms mood[]);
create domain email as text check (value like '%@%');
create domain scores as int4[];
create table scalars(id int primary key, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, m money,
  o oid, t text, v varchar(9), c char(4), nm name, u uuid, j json, jb jsonb, by bytea, x8 xid8);
create table times(id int primary key, d date, t time, tz timetz, ts timestamp, tstz timestamptz, iv interval);
create table others(id int primary key, ip inet, ci cidr, mac macaddr, bi bit(3), vb varbit, tv tsvector, tq tsquery,
  r int4range, tr tstzrange, mr int4multirange, pt point, bx box, po polygon, l pg_lsn, e mood, em email);
create table nested(id int primary key, ia int4[], ta text[], ja jsonb[], ba bytea[], tza timestamptz[], bxa box[],
  ea mood[], p point3, pa point3[], ne nest, sc scores, fa float8[]);
create publication p for table scalars, times, others, nested;
-- record
insert into scalars values
 (1, true, -32768, 2147483647, 9223372036854775807, 1.5, 0.1, 12345678901234567890123456789012345678901234567890.10,
  1234.5, 4294967295, E'a "q" \\ \n \t é 漢 🎹', 'short', 'pad', 'name', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  ' {"b" : 1,  "a":[1,2.50]} ', '{"b": 1, "a": [1, 2.50], "é": "\u00e9"}', '\x00ff10', '18446744073709551615'),
 (2, false, 0, -1, -9223372036854775808, 'NaN', 'Infinity', 'NaN', -0.01, 0, '', '', '', '', null, 'null', 'null', '', '1'),
 (3, null, null, null, null, '-Infinity', '-0', '-0.00', null, null, null, null, null, null, null, '"s"', '[]', null, null),
 (4, null, 1, 1, 1, 1e-20, 1e300, 'Infinity', null, null, null, null, null, null, null, '1e400', '1e3', null, null);
insert into times values
 (1, '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.5', '2024-02-29 12:34:56.5+02', '1 year 2 mons 3 days 04:05:06.789'),
 (2, 'infinity', '24:00', '00:00:00+00', '-infinity', 'infinity', '-1 day'),
 (3, '0044-03-15 BC', '00:00', null, '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '0'),
 (4, '5874897-12-31', null, null, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59+00', null),
 (5, '0001-01-01', null, null, '9999-12-31 23:59:59.999999', '0001-01-01 00:00:00+00', null),
 (6, null, null, null, null, '9999-12-31 23:59:59.999999+00', null);
insert into others values
 (1, '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '101', '11', 'a fat cat', 'fat & cat', '[1,5)', '[2024-01-01 00:00+00,)',
  '{[1,3),[5,7)}', '(1,2)', '((0,0),(1,1))', '((0,0),(1,1),(2,0))', '16/B374D848', 'so so', 'a@b'),
 (2, '::1', '::/0', null, null, null, '', '', 'empty', '(,)', '{}', '(Infinity,NaN)', null, null, '0/0', 'happy', null);
insert into nested values
 (1, '{1,NULL,3}', '{a,"b c","","NULL",NULL,"q\"\\"}', array['{"a": [null]}'::jsonb, 'null', null], array['\x00ff'::bytea],
  array['2024-01-01 00:00+00'::timestamptz, 'infinity'], array[box '((0,0),(1,1))', box '((2,2),(3,3))'],
  '{sad,"so so"}', (1, 2.5, 'a "b", (c)'), array[(1, null, '')::point3, null], ((null, 'NaN', null), '{happy}'), '{1,2}', '{1.5,NaN,Infinity}'),
 (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', null, '{}', (null, null), '{}', '{}'),
 (3, '[0:1]={7,8}', '[-1:0][2:3]={{a,b},{c,d}}', null, null, null, null, null, (null, null, null), null, null, '{{1,2},{3,4}}', null);
