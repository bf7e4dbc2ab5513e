//! Reads the outbox out of the pages of a file whose tree cannot be walked any more.
//!
//! Laws: each page is taken for itself, so one that is broken takes only what is on it; what the log holds as committed
//! stands over the file. It refuses to guess: a row counts only where it holds an entry under the entry's own key.

use std::collections::BTreeMap;

use super::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;
/// A page that holds rows of a table begins with this.
const LEAF: u8 = 0x0D;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Returns every pair of texts that looks like a row of the outbox, by its number in the table.
pub(super) fn rows(file: &[u8], log: &[u8]) -> BTreeMap<i64, (String, String)> {
    let pages = pages(file, log);
    let mut found = BTreeMap::new();
    // The first page holds the names of the tables, and never a row.
    for page in pages.iter().filter(|(number, page)| **number > 1 && page[0] == LEAF).map(|(_, page)| page) {
        for index in 0..usize::from(short(page, 3).unwrap_or_default()) {
            if let Some((number, key, json)) = short(page, 8 + 2 * index).and_then(|at| row(&pages, page, at.into())) {
                found.insert(number, (key, json));
            }
        }
    }
    found
}

fn pages<'a>(file: &'a [u8], log: &'a [u8]) -> BTreeMap<u32, &'a [u8]> {
    let whole = file.chunks_exact(PAGE).zip(1..);
    let mut pages: BTreeMap<u32, &[u8]> = whole.map(|(page, number)| (number, page)).collect();
    let salt = log.get(16..24);
    let mut open = Vec::new();
    for frame in log.get(LOG_HEADER..).unwrap_or_default().chunks_exact(FRAME_HEADER + PAGE) {
        if frame.get(8..16) != salt {
            // What an earlier round of the log left behind.
            break;
        }
        open.push((long(frame, 0).unwrap_or_default(), &frame[FRAME_HEADER..]));
        if long(frame, 4) != Some(0) {
            pages.extend(open.drain(..));
        }
    }
    pages
}

/// Reads a row of two texts, with what of it lies on other pages.
fn row(pages: &BTreeMap<u32, &[u8]>, page: &[u8], at: usize) -> Option<(i64, String, String)> {
    let (size, after) = number(page, at)?;
    let (rowid, after) = number(page, after)?;
    let size = usize::try_from(size).ok()?;
    let here = local(size);
    let mut payload = page.get(after..after + here)?.to_vec();
    let mut next = if here < size { long(page, after + here)? } else { 0 };
    while payload.len() < size {
        let more = pages.get(&next)?;
        let part = (size - payload.len()).min(PAGE - 4);
        payload.extend_from_slice(&more[4..4 + part]);
        next = long(more, 0)?;
    }
    let (header, mut at) = number(&payload, 0)?;
    let mut start = usize::try_from(header).ok()?;
    let mut texts = Vec::new();
    while at < usize::try_from(header).ok()? && texts.len() < 2 {
        let (kind, after) = number(&payload, at)?;
        let bytes = usize::try_from(kind).ok().filter(|kind| *kind >= 13 && kind % 2 == 1)? / 2 - 6;
        texts.push(String::from_utf8_lossy(payload.get(start..start.checked_add(bytes)?)?).into_owned());
        (at, start) = (after, start + bytes);
    }
    let json = texts.pop()?;
    Some((rowid, texts.pop()?, json))
}

/// Returns how much of a row lies on its own page.
fn local(size: usize) -> usize {
    let (max, min) = (PAGE - 35, (PAGE - 12) * 32 / 255 - 23);
    if size <= max {
        return size;
    }
    let fits = min + (size - min) % (PAGE - 4);
    if fits <= max { fits } else { min }
}

/// Reads a number of one to nine bytes, and where it ends.
fn number(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut value = 0i64;
    for index in 0..9 {
        let byte = *bytes.get(at + index)?;
        if index == 8 {
            return Some((value << 8 | i64::from(byte), at + 9));
        }
        value = value << 7 | i64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
