//! Aligned columns for people, tab-separated ones for programs.

use unicode_width::UnicodeWidthStr;

/// Lines of equally many cells.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as the header has.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.header.len(), "a table has no ragged rows");
        self.rows.push(row);
    }

    /// The lines. On a terminal the columns are aligned under a header; elsewhere the cells are
    /// separated by tabs, which no name contains, and there is no header.
    pub(crate) fn lines(&self, terminal: bool) -> Vec<String> {
        if terminal {
            let header = self.header.iter().map(ToString::to_string).collect();
            let rows: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
            aligned(&rows)
        } else {
            self.rows.iter().map(|row| row.join("\t")).collect()
        }
    }
}

fn aligned(rows: &[&Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0))
        .collect();
    let line = |row: &&Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width + 2 - cell.width()));
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_in_any_script() {
        let mut table = Table::new(&["TOPIC", "RECORDS"]);
        table.push(vec!["地震".into(), "1707".into()]);
        table.push(vec!["t".into(), "0".into()]);
        assert_eq!(table.lines(true), ["TOPIC  RECORDS", "地震   1707", "t      0"]);
        assert_eq!(table.lines(false), ["地震\t1707", "t\t0"]);
    }
}
