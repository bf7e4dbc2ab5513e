//! A row image: the JSON object of a row, with what is unchanged, omitted or JSON null named beside it.
//!
//! Lists and the activity log build their rows here, so that both say the same of the same value (protocol 2).

mod read;

use antiphon_model::{Cell, Type, write_string};
pub use read::{ReadImage, read_image};
use sha2::{Digest, Sha256};

/// A value longer than this, encoded, is left out and named in `omitted`.
pub const OMITTED_ABOVE_BYTES: usize = 256 * 1024;

/// A value of a stamped table that did not change and is longer than this, encoded, is named in `unchanged`.
pub const UNCHANGED_ABOVE_BYTES: usize = 8 * 1024;

/// Builds one row image; reused from row to row.
#[derive(Debug, Default)]
pub struct ImageWriter {
    image: String,
    unchanged: String,
    omitted: String,
    json_nulls: String,
    value: String,
}

impl ImageWriter {
    /// Begins a row.
    pub fn start(&mut self) {
        for text in [&mut self.image, &mut self.unchanged, &mut self.omitted, &mut self.json_nulls] {
            text.clear();
        }
    }

    /// Adds a column's value; `name_json` is the name as a JSON string.
    pub fn push(&mut self, name_json: &str, ty: &Type, cell: Cell<'_>) {
        self.push_below(name_json, ty, cell, false);
    }

    fn push_below(&mut self, name_json: &str, ty: &Type, cell: Cell<'_>, unchanged: bool) {
        if cell == Cell::Unchanged {
            self.name_unchanged(name_json);
            return;
        }
        let before = self.image.len();
        self.image.push(if before == 0 { '{' } else { ',' });
        self.image.push_str(name_json);
        self.image.push(':');
        let start = self.image.len();
        let encoded = antiphon_wire::encode_cell(ty, cell, &mut self.image);
        let bytes = self.image.len() - start;
        if unchanged && bytes > UNCHANGED_ABOVE_BYTES {
            self.image.truncate(before);
            self.name_unchanged(name_json);
        } else if bytes > OMITTED_ABOVE_BYTES {
            self.omit(name_json, start, before);
        } else if encoded.json_null {
            separate(&mut self.json_nulls, ',');
            self.json_nulls.push_str(name_json);
        }
    }

    /// Adds a column's value that did not change: a large one is named as such instead (protocol 2).
    pub fn push_unchanged(&mut self, name_json: &str, ty: &Type, cell: Cell<'_>) {
        self.push_below(name_json, ty, cell, true);
    }

    fn name_unchanged(&mut self, name_json: &str) {
        separate(&mut self.unchanged, ',');
        self.unchanged.push_str(name_json);
    }

    fn omit(&mut self, name_json: &str, start: usize, before: usize) {
        let (bytes, checksum) = (self.image.len() - start, checksum(&self.image[start..]));
        self.image.truncate(before);
        separate(&mut self.omitted, ',');
        self.omitted.push_str(name_json);
        self.omitted.push_str(":{\"bytes\":");
        self.omitted.push_str(&bytes.to_string());
        self.omitted.push_str(",\"checksum\":");
        write_string(&mut self.omitted, &checksum);
        self.omitted.push('}');
    }

    /// Returns the image and the details of the row, `reason` included where given.
    ///
    /// `omitted` is always last in the details: readers of the log rely on it.
    pub fn finish(&mut self, reason: Option<&str>) -> (String, Option<String>) {
        if self.image.is_empty() {
            self.image.push('{');
        }
        self.image.push('}');
        self.value.clear();
        let details = &mut self.value;
        if let Some(reason) = reason {
            details.push_str("\"reason\":");
            write_string(details, reason);
        }
        for (name, list, open, close) in [
            ("unchanged", &self.unchanged, '[', ']'),
            ("jsonNulls", &self.json_nulls, '[', ']'),
            ("omitted", &self.omitted, '{', '}'),
        ] {
            if !list.is_empty() {
                separate(details, ',');
                details.push_str(&format!("\"{name}\":{open}{list}{close}"));
            }
        }
        let details = (!self.value.is_empty()).then(|| self.value.clone());
        (self.image.clone(), details)
    }
}

/// Returns the checksum of an encoded value, as `omitted` and the field endpoint show it.
pub fn checksum(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn separate(text: &mut String, with: char) {
    if !text.is_empty() {
        text.push(with);
    }
}
