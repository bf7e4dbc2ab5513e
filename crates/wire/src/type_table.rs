//! The types that a connection knows: every built-in one by its fixed OID, others as the catalogue told them.
//!
//! Built-in OIDs never change between servers, so they need no catalogue; the list was read from `pg_type` of
//! Postgres 15 and is complete for 18. Names are what `format_type(oid, null)` prints.
//! An unknown OID is never guessed here: `resolve` answers `None` and the caller asks the catalogue.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use antiphon_model::{Type, TypeKind};

/// The types of one connection.
#[derive(Clone, Debug, Default)]
pub struct TypeTable {
    catalogue: HashMap<u32, Arc<Type>>,
}

impl TypeTable {
    /// Makes a table of the built-in types.
    pub fn new() -> TypeTable {
        TypeTable::default()
    }

    /// Adds or replaces a type that the catalogue described; built-in ones stay as they are.
    pub fn insert(&mut self, oid: u32, ty: Arc<Type>) {
        self.catalogue.insert(oid, ty);
    }

    /// Finds a type.
    pub fn resolve(&self, oid: u32) -> Option<Arc<Type>> {
        BUILT_IN.get(&oid).or_else(|| self.catalogue.get(&oid)).cloned()
    }

    /// Tells whether a type is known.
    pub fn knows(&self, oid: u32) -> bool {
        BUILT_IN.contains_key(&oid) || self.catalogue.contains_key(&oid)
    }

    /// Returns the OIDs of the built-in types.
    pub fn built_in_oids() -> impl Iterator<Item = u32> {
        BUILT_IN.keys().copied()
    }
}

static BUILT_IN: LazyLock<HashMap<u32, Arc<Type>>> = LazyLock::new(|| {
    let mut types = HashMap::with_capacity(2 * SCALARS.len());
    for &(oid, array_oid, name, rule) in SCALARS {
        let ty = Arc::new(Type { name: name.to_owned(), kind: rule.kind() });
        if array_oid != 0 {
            // Box is the only built-in type whose array is not separated by commas.
            let delimiter = if name == "box" { b';' } else { b',' };
            let array = Type { name: format!("{name}[]"), kind: TypeKind::Array(ty.clone(), delimiter) };
            types.insert(array_oid, Arc::new(array));
        }
        types.insert(oid, ty);
    }
    types
});

#[derive(Clone, Copy)]
enum Rule {
    Bool,
    Integer,
    Float,
    Text,
    Json,
    Jsonb,
    Bytea,
    Timestamptz,
}

impl Rule {
    const fn kind(self) -> TypeKind {
        match self {
            Rule::Bool => TypeKind::Bool,
            Rule::Integer => TypeKind::Integer,
            Rule::Float => TypeKind::Float,
            Rule::Text => TypeKind::Text,
            Rule::Json => TypeKind::Json,
            Rule::Jsonb => TypeKind::Jsonb,
            Rule::Bytea => TypeKind::Bytea,
            Rule::Timestamptz => TypeKind::Timestamptz,
        }
    }
}

/// OID, OID of the array type (0: none), name, rule.
#[rustfmt::skip]
const SCALARS: &[(u32, u32, &str, Rule)] = &[
    (16, 1000, "boolean", Rule::Bool),
    (17, 1001, "bytea", Rule::Bytea),
    (18, 1002, "\"char\"", Rule::Text),
    (19, 1003, "name", Rule::Text),
    (20, 1016, "bigint", Rule::Text),
    (21, 1005, "smallint", Rule::Integer),
    (22, 1006, "int2vector", Rule::Text),
    (23, 1007, "integer", Rule::Integer),
    (24, 1008, "regproc", Rule::Text),
    (25, 1009, "text", Rule::Text),
    (26, 1028, "oid", Rule::Text),
    (27, 1010, "tid", Rule::Text),
    (28, 1011, "xid", Rule::Text),
    (29, 1012, "cid", Rule::Text),
    (30, 1013, "oidvector", Rule::Text),
    (114, 199, "json", Rule::Json),
    (142, 143, "xml", Rule::Text),
    (194, 0, "pg_node_tree", Rule::Text),
    (600, 1017, "point", Rule::Text),
    (601, 1018, "lseg", Rule::Text),
    (602, 1019, "path", Rule::Text),
    (603, 1020, "box", Rule::Text),
    (604, 1027, "polygon", Rule::Text),
    (628, 629, "line", Rule::Text),
    (650, 651, "cidr", Rule::Text),
    (700, 1021, "real", Rule::Float),
    (701, 1022, "double precision", Rule::Float),
    (718, 719, "circle", Rule::Text),
    (774, 775, "macaddr8", Rule::Text),
    (790, 791, "money", Rule::Text),
    (829, 1040, "macaddr", Rule::Text),
    (869, 1041, "inet", Rule::Text),
    (1033, 1034, "aclitem", Rule::Text),
    (1042, 1014, "character", Rule::Text),
    (1043, 1015, "character varying", Rule::Text),
    (1082, 1182, "date", Rule::Text),
    (1083, 1183, "time without time zone", Rule::Text),
    (1114, 1115, "timestamp without time zone", Rule::Text),
    (1184, 1185, "timestamp with time zone", Rule::Timestamptz),
    (1186, 1187, "interval", Rule::Text),
    (1266, 1270, "time with time zone", Rule::Text),
    (1560, 1561, "bit", Rule::Text),
    (1562, 1563, "bit varying", Rule::Text),
    (1700, 1231, "numeric", Rule::Text),
    (1790, 2201, "refcursor", Rule::Text),
    (2202, 2207, "regprocedure", Rule::Text),
    (2203, 2208, "regoper", Rule::Text),
    (2204, 2209, "regoperator", Rule::Text),
    (2205, 2210, "regclass", Rule::Text),
    (2206, 2211, "regtype", Rule::Text),
    (2950, 2951, "uuid", Rule::Text),
    (2970, 2949, "txid_snapshot", Rule::Text),
    (3220, 3221, "pg_lsn", Rule::Text),
    (3361, 0, "pg_ndistinct", Rule::Text),
    (3402, 0, "pg_dependencies", Rule::Text),
    (3614, 3643, "tsvector", Rule::Text),
    (3615, 3645, "tsquery", Rule::Text),
    (3642, 3644, "gtsvector", Rule::Text),
    (3734, 3735, "regconfig", Rule::Text),
    (3769, 3770, "regdictionary", Rule::Text),
    (3802, 3807, "jsonb", Rule::Jsonb),
    (3904, 3905, "int4range", Rule::Text),
    (3906, 3907, "numrange", Rule::Text),
    (3908, 3909, "tsrange", Rule::Text),
    (3910, 3911, "tstzrange", Rule::Text),
    (3912, 3913, "daterange", Rule::Text),
    (3926, 3927, "int8range", Rule::Text),
    (4072, 4073, "jsonpath", Rule::Text),
    (4089, 4090, "regnamespace", Rule::Text),
    (4096, 4097, "regrole", Rule::Text),
    (4191, 4192, "regcollation", Rule::Text),
    (4451, 6150, "int4multirange", Rule::Text),
    (4532, 6151, "nummultirange", Rule::Text),
    (4533, 6152, "tsmultirange", Rule::Text),
    (4534, 6153, "tstzmultirange", Rule::Text),
    (4535, 6155, "datemultirange", Rule::Text),
    (4536, 6157, "int8multirange", Rule::Text),
    (4600, 0, "pg_brin_bloom_summary", Rule::Text),
    (4601, 0, "pg_brin_minmax_multi_summary", Rule::Text),
    (5017, 0, "pg_mcv_list", Rule::Text),
    (5038, 5039, "pg_snapshot", Rule::Text),
    (5069, 271, "xid8", Rule::Text),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_oids_are_those_of_pg_type() {
        let table = TypeTable::new();
        for (oid, name, json) in [
            (16, "boolean", "boolean"),
            (20, "bigint", "string"),
            (23, "integer", "number"),
            (701, "double precision", "number"),
            (1009, "text[]", "array"),
            (1184, "timestamp with time zone", "string"),
            (3802, "jsonb", "json"),
        ] {
            let ty = table.resolve(oid).unwrap();
            assert_eq!((ty.name.as_str(), ty.json_name()), (name, json));
        }
        assert_eq!(table.resolve(1020).unwrap().kind, TypeKind::Array(table.resolve(603).unwrap(), b';'));
    }

    #[test]
    fn an_unknown_type_is_asked_for_and_a_told_one_is_known() {
        let mut table = TypeTable::new();
        assert!(table.resolve(99_999).is_none());
        table.insert(99_999, Arc::new(Type::text("mood")));
        assert_eq!(table.resolve(99_999).unwrap().name, "mood");
        table.insert(23, Arc::new(Type::text("impostor")));
        assert_eq!(table.resolve(23).unwrap().name, "integer");
    }
}
