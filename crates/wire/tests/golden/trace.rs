//! Reads traces and the types recorded beside them.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use antiphon_model::{Type, TypeKind};
use antiphon_wire::TypeTable;
use bytes::Bytes;

/// A recorded trace.
pub struct Trace {
    pub path: PathBuf,
    pub version: String,
    pub case: String,
    bytes: Bytes,
}

/// Returns every trace, sorted.
pub fn traces() -> Vec<Trace> {
    let mut traces = Vec::new();
    for version in ["15", "18"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                let case = path.file_stem().unwrap().to_string_lossy().into_owned();
                let bytes = fs::read(&path).unwrap().into();
                traces.push(Trace { path, version: version.to_owned(), case, bytes });
            }
        }
    }
    traces.sort_by(|a, b| a.path.cmp(&b.path));
    traces
}

impl Trace {
    /// Returns the payloads, each with whether it stands inside a stream block.
    pub fn payloads(&self) -> Vec<(Bytes, bool)> {
        let (mut rest, mut in_stream, mut payloads) = (self.bytes.clone(), false, Vec::new());
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest.split_to(4)[..].try_into().unwrap());
            let payload = rest.split_to(length as usize);
            in_stream &= payload[0] != b'E';
            payloads.push((payload.clone(), in_stream));
            in_stream |= payload[0] == b'S';
        }
        payloads
    }

    /// Returns a few payloads of each kind that are short enough to be changed byte by byte.
    pub fn distinct_payloads(&self) -> Vec<(Bytes, bool)> {
        let mut seen = HashSet::new();
        let mut payloads = self.payloads();
        payloads.retain(|(payload, _)| payload.len() <= 600 && seen.insert((payload[0], payload.len())));
        payloads
    }

    /// Answers as a catalogue would: the type with everything that it is made of.
    pub fn find_type(&self, oid: u32) -> Option<Arc<Type>> {
        let text = fs::read_to_string(self.path.with_extension("types")).ok()?;
        let lines = text.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Some((fields[0].parse::<u32>().ok()?, fields))
        });
        resolve(&lines.collect(), oid)
    }
}

fn resolve(catalogue: &BTreeMap<u32, Vec<&str>>, oid: u32) -> Option<Arc<Type>> {
    if let Some(ty) = TypeTable::new().resolve(oid) {
        return Some(ty);
    }
    let fields = catalogue.get(&oid)?;
    let rest = fields.get(3).copied().unwrap_or_default();
    let kind = match fields[1] {
        "array" => TypeKind::Array(resolve(catalogue, rest.parse().ok()?)?, b','),
        "d" => resolve(catalogue, rest.parse().ok()?)?.kind.clone(),
        "e" => TypeKind::Enum(rest.split(',').map(str::to_owned).collect()),
        "c" => {
            let attribute = |text: &str| {
                let (name, oid) = text.rsplit_once(':')?;
                Some((name.to_owned(), resolve(catalogue, oid.parse().ok()?)?))
            };
            TypeKind::Composite(rest.split(',').map(attribute).collect::<Option<_>>()?)
        }
        _ => TypeKind::Text,
    };
    Some(Arc::new(Type { name: fields[2].to_owned(), kind }))
}
