//! Each row of the table in `docs/concepts/text-merge.md` is what the merge does (CORE-07).

use antiphon_sync::{Piece, merge_text};

const PAGE: &str = include_str!("../../../docs/concepts/text-merge.md");

/// A cell of the table as text; a bar within a cell is escaped.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\0");
    let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|").replace('⏎', "\n"));
    cells.collect()
}

fn written(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Merged(text) => text.clone(),
        Piece::Overlap { mine, theirs, .. } => format!("[{mine}|{theirs}]"),
    };
    pieces.iter().map(piece).collect()
}

#[test]
fn every_row_of_the_page_is_what_happens_core_07() {
    let rows: Vec<_> = PAGE.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
    let rows: Vec<_> = rows.into_iter().take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() >= 15, "the table was found");
    for row in rows {
        let [base, mine, theirs, result] = row.as_slice() else { panic!("four cells: {row:?}") };
        assert_eq!(&written(&merge_text(base, mine, theirs)), result, "{row:?}");
    }
}
